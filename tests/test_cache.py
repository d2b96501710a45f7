"""What a teacher answered is looked up in step with the batches, in memory or on disk, and any change is noticed."""

import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.data import augmented, random_shift_flip
from kdcourse.data.splits import Split, standardised
from kdcourse.training.cache import OnDisk, TeacherCache
from kdcourse.training.loop import train


def pictures(count: int = 120, seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    images = torch.randn(count, 1, 8, 8, generator=generator) + labels.view(-1, 1, 1, 1)
    return Split(images.contiguous(memory_format=torch.channels_last), labels)


def teacher() -> nn.Module:
    return kd.models.convnet((4, 8), classes=3, seed=5).eval()


def student() -> nn.Module:
    return kd.models.convnet((2, 4), classes=3, seed=0)


def losses(split: Split, answering, method=None) -> torch.Tensor:
    method = kd.Distillation(temperature=2) if method is None else method
    return torch.tensor(train(student(), split, method, teacher=answering, steps=12, batch_size=40).losses)


def asked(model: nn.Module) -> list:
    """Grows with each batch that the first layer is shown."""
    calls = []
    model.stage1.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_views_are_drawn_once_and_keep_their_labels():
    split = pictures()
    views = augmented(split, 3, seed=1)
    assert len(views) == 360 and torch.equal(views.labels, split.labels.repeat(3))
    assert views.images.is_contiguous(memory_format=torch.channels_last)
    first, second, _ = views.images.split(120)
    assert not torch.equal(first, second), "each view is drawn anew"
    assert torch.equal(augmented(split, 3, seed=1).images, views.images)
    assert not torch.equal(augmented(split, 3, seed=2).images, views.images)
    assert augmented(split.unlabelled(), 2).labels is None
    with pytest.raises(ValueError, match="views must be"):
        augmented(split, 0)


def test_fixed_views_give_the_same_losses_cached_and_live():
    model, views = teacher(), augmented(pictures(), 3)
    torch.testing.assert_close(losses(views, TeacherCache(model)), losses(views, model))


def test_augmentation_without_fixed_views_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"data\.augmented"):
        train(
            *(student(), pictures(), kd.SoftTarget()),
            teacher=TeacherCache(teacher()),
            steps=2,
            augment=random_shift_flip,
        )


def test_what_exceeds_the_limit_lies_on_disk_in_half_precision(tmp_path):
    model, split = teacher(), pictures()
    names, limit = ["logits", "stage1"], 4 * 120 * 3
    exact = TeacherCache(model).outputs(split, names)
    found = TeacherCache(model, tmp_path, limit=limit).outputs(split, names)
    assert torch.equal(found["logits"], exact["logits"]), "logits fit and stay as they are"
    assert isinstance(found["stage1"], OnDisk) and found["stage1"].shape == exact["stage1"].shape
    order = torch.randperm(120)[:50]
    assert found["stage1"][order].dtype == torch.float32
    torch.testing.assert_close(found["stage1"][order], exact["stage1"][order], rtol=2**-11, atol=2**-24)
    calls = asked(model)
    again = TeacherCache(model, tmp_path, limit=limit).outputs(split, names)
    assert torch.equal(again["stage1"][order], found["stage1"][order]) and not calls
    assert isinstance(TeacherCache(model, tmp_path).outputs(split, names)["stage1"], torch.Tensor), "it fits now"


def test_training_from_disk_gives_the_losses_of_a_live_teacher_to_half_precision():
    model, split = teacher(), pictures()
    method = kd.Distillation() + kd.methods.AttentionTransfer({"stage1": "stage1"})
    cache = TeacherCache(model, limit=0)
    torch.testing.assert_close(losses(split, cache, method), losses(split, model, method), rtol=2e-3, atol=1e-4)
    folder = cache._temporary
    assert len(list(folder.iterdir())) == 2
    del cache
    assert not folder.exists(), "a temporary folder goes with its cache"


def flipped(place: int):
    """A file's content -> the same with one bit changed there."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        changed[place] ^= 1
        return bytes(changed)

    return change


DAMAGES = {
    "one byte short": lambda content: content[:-1],
    "empty": lambda content: b"",
    "a header's bit": flipped(61),
    "an answer's bit": flipped(300),
    "the last answer's bit": flipped(-17),
    "a bit of the hash": flipped(-1),
    "another's bytes": lambda content: content[:-16] + content[128:144] + content[-16:],
}


@pytest.mark.parametrize("limit", [0, 2**20], ids=["mapped", "in memory"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_noticed_and_written_again(damage, limit, tmp_path, capsys):
    model, split, rows = teacher(), pictures(), torch.arange(120)
    expected = TeacherCache(model, tmp_path, limit=limit).logits(split)[rows]
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    calls = asked(model)
    assert torch.equal(TeacherCache(model, tmp_path, limit=limit).logits(split)[rows], expected) and calls
    said = capsys.readouterr().out
    assert path.name in said and "damaged" in said and "the teacher answers again" in said
    assert path.read_bytes() == whole


def test_numbers_beyond_half_precision_are_refused_and_leave_no_file(tmp_path):
    model = teacher()
    nn.init.constant_(model.classifier.bias, 1e6)
    with pytest.raises(ValueError, match="beyond half precision"):
        TeacherCache(model, tmp_path, limit=0).logits(pictures())
    assert not list(tmp_path.iterdir())


def test_pictures_changed_in_place_are_asked_about_anew():
    model, split = teacher(), pictures()
    cache, calls = TeacherCache(model), asked(model)
    before = cache.logits(split)
    cache.logits(split)
    assert len(calls) == 1
    split.images[3] += 1
    after = cache.logits(split)
    assert len(calls) == 2 and (before != after).any(dim=1).nonzero().flatten().tolist() == [3]


def test_another_preprocessing_is_another_question(tmp_path):
    model, raw = teacher(), torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8)
    one, other = (standardised(raw, [0] * 20, (mean,), (0.3,), "cpu") for mean in (0.3, 0.4))
    cache = TeacherCache(model, tmp_path)
    assert not torch.equal(cache.logits(one), cache.logits(other))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_teacher_that_computes_otherwise_with_the_same_weights_is_another_teacher(tmp_path):
    members, split = [teacher(), teacher()], pictures()
    cold, warm = (kd.schemes.Ensemble(members, temperature=number) for number in (1.0, 4.0))
    TeacherCache(cold, tmp_path).logits(split), TeacherCache(warm, tmp_path).logits(split)
    assert len(list(tmp_path.iterdir())) == 2
    cache = TeacherCache(cold)
    cold.temperature = 2.0
    with pytest.raises(ValueError, match="teacher has changed"):
        cache.logits(split)


class Scaled(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.linear, self.scale = nn.Linear(4, 3), scale
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, images):
        return self.linear(images.flatten(1)) * self.scale


def test_a_teachers_plain_attributes_are_part_of_it(tmp_path):
    split = Split(torch.randn(6, 1, 2, 2), torch.zeros(6).long())
    first = kd.TeacherCache(Scaled(1.0), tmp_path)
    answers = first.logits(split)
    torch.testing.assert_close(kd.TeacherCache(Scaled(10.0), tmp_path).logits(split), 10 * answers)
    first.teacher.scale = 3.0
    with pytest.raises(ValueError, match="teacher has changed"):
        first.logits(split)


@pytest.mark.parametrize("behind", [lambda images: images.data, lambda images: images.numpy()], ids=["data", "NumPy"])
def test_pictures_that_are_written_to_behind_a_tensors_back_are_asked_about_anew(behind):
    split = Split(torch.randn(6, 1, 2, 2), torch.zeros(6).long())
    cache = kd.TeacherCache(Scaled(1.0))
    before = cache.logits(split)
    behind(split.images)[2] = 9.0
    after = cache.logits(split)
    assert not torch.equal(before[2], after[2]) and torch.equal(before[[0, 1, 3]], after[[0, 1, 3]])


def test_answers_that_lie_on_disk_are_measured_like_others(tmp_path):
    split = Split(torch.randn(6, 1, 2, 2), torch.arange(6) % 3)
    answers = kd.TeacherCache(Scaled(1.0), tmp_path, limit=1).logits(split)
    assert isinstance(answers, OnDisk) and kd.measure.accuracy(answers, split) == kd.measure.accuracy(
        Scaled(1.0), split
    )
