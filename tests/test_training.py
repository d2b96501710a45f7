"""The one training loop: same seeds give the same run, the teacher never moves, cached and live answers agree."""

import signal
import sys

import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse.data.augment import random_shift_flip
from kdcourse.data.splits import Split
from kdcourse.losses import checks
from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import Evaluate, batches, train
from kdcourse.training.objective import frozen


def toy(count: int = 300, seed: int = 0) -> Split:
    """Three classes that a small network tells apart with ease."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    images = torch.randn(count, 1, 4, 4, generator=generator) + labels.view(-1, 1, 1, 1)
    return Split(images.contiguous(memory_format=torch.channels_last), labels)


def student(seed: int = 0) -> nn.Module:
    return kd.models.perceptron((16,), classes=3, inputs=16, seed=seed)


def normed_teacher() -> nn.Module:
    """A teacher whose batch norm and dropout would betray a loop that leaves it in training mode."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(24, 3)
    )


def test_a_student_learns_and_the_history_says_so():
    split = toy()
    history = train(model := student(), split, steps=120, batch_size=32, callbacks=[Evaluate(toy(seed=1), every=50)])
    assert len(history.losses) == 120 and history.examples == 120 * 32 and not history.interrupted
    assert history.losses[-1] < 0.5 * history.losses[0]
    assert [step for step, _ in history.evaluations] == [50, 100, 120]
    assert history.evaluations[-1][1] == kd.measure.accuracy(model, toy(seed=1))
    assert history.seconds > 0 and not model.training


def test_one_seed_fixes_the_weights_and_another_the_order():
    split = toy()

    def run(weights, order):
        history = train(student(weights), split, steps=20, batch_size=32, order_seed=order)
        return history.losses

    assert run(0, 0) == run(0, 0)
    assert run(0, 0) != run(0, 1)
    assert run(0, 0) != run(1, 0)
    # The same order of batches, whatever the weights and the method.
    assert torch.equal(batches(split, 7, 50, seed=3), batches(split, 7, 50, seed=3))


def test_batches_visit_every_example_once_an_epoch():
    split = toy(100)
    seen = batches(split, steps=10, batch_size=20, seed=0).flatten()
    assert seen[:100].sort().values.tolist() == list(range(100))
    assert seen[100:].sort().values.tolist() == list(range(100))
    assert batches(split, steps=3, batch_size=70, seed=0).shape == (3, 70)


def test_dropout_is_the_same_in_paired_runs_and_the_global_generator_is_left_alone():
    def run():
        model = kd.models.perceptron((16,), classes=3, inputs=16, dropout=0.5, seed=0)
        return train(model, toy(), steps=10, batch_size=32).losses

    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    first = run()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(5)
    assert run() == first


def test_the_teacher_never_moves():
    teacher = normed_teacher().train()
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    train(student(), toy(), kd.Distillation(), teacher=teacher, steps=15, batch_size=32)
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert teacher.training and all(parameter.requires_grad for parameter in teacher.parameters()), "flags restored"


@pytest.mark.parametrize("method", [kd.SoftTarget(), kd.Distillation(temperature=2, alpha=0.5), kd.Decoupled()])
def test_cached_and_live_teachers_give_the_same_losses(method):
    teacher, split = normed_teacher(), toy()
    live = train(one := student(), split, method, teacher=teacher, steps=30, batch_size=32)
    cached = train(two := student(), split, method, teacher=TeacherCache(teacher), steps=30, batch_size=32)
    torch.testing.assert_close(torch.tensor(live.losses), torch.tensor(cached.losses))
    for left, right in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def shifted(parent):
    """A method like its parent whose loss is 1000 larger, computed in `forward`."""

    class Shifted(parent):
        def forward(self, batch):
            return super().forward(batch) + 1000

    return Shifted()


@pytest.mark.parametrize("parent", [kd.HardTarget, kd.SoftTarget, kd.Distillation])
@pytest.mark.parametrize("wrapped", [TeacherCache, lambda teacher: teacher], ids=["cached", "asked"])
def test_a_subclass_trains_by_its_own_loss(parent, wrapped):
    teacher = wrapped(normed_teacher().eval())
    plain, own = (
        train(student(), toy(), method, teacher=teacher, steps=5, batch_size=32).losses
        for method in (parent(), shifted(parent))
    )
    torch.testing.assert_close(torch.tensor(own) - 1000, torch.tensor(plain), rtol=0, atol=1e-3)


@pytest.mark.parametrize("wrapped", [TeacherCache, lambda teacher: teacher], ids=["cached", "asked"])
def test_a_subclass_with_another_function_for_its_loss_trains_by_that(wrapped):
    class Halved(kd.Distillation):
        loss = staticmethod(lambda student, teacher, labels, **_: student.sum() * 0 + 7)

    history = train(student(), toy(), Halved(), teacher=wrapped(normed_teacher()), steps=3, batch_size=32)
    assert history.losses == [7, 7, 7]


@pytest.mark.parametrize("method", [kd.SoftTarget(), kd.Distillation(), kd.SoftTarget() + kd.HardTarget()], ids=repr)
def test_the_function_that_is_taught_is_the_function_that_runs(method):
    """A breakpoint in `losses.soft_target` would stop at each step, with a cache too."""
    called = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code is kd.losses.soft_target.__code__:
            called.append(frame)

    sys.setprofile(watch)
    try:
        train(student(), toy(), method, teacher=TeacherCache(normed_teacher()), steps=6, batch_size=32)
    finally:
        sys.setprofile(None)
    assert len(called) == 6


def test_tensors_are_looked_at_before_the_first_step_and_not_in_each(monkeypatch):
    looked = []
    monkeypatch.setattr(checks, "check_no_nan", lambda name, tensor: looked.append(name))
    given = {"teacher": TeacherCache(normed_teacher()), "batch_size": 32, "progress": False}
    counts = [train(student(), toy(), kd.Distillation(), steps=steps, **given) and len(looked) for steps in (1, 40)]
    assert counts == [3, 6], "the split, and both sides of the first batch"


def spoiled(labels=None, pixel=0.0) -> Split:
    """300 examples, of which the last, far from the first batch, has this label and this pixel."""
    split = toy()
    split.images[-1, 0, 0, 0] += pixel
    if labels is not None:
        split.labels[-1] = labels
    return split


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (spoiled(labels=3), "labels must be from 0 to 2, got values from 0 to 3"),
        (spoiled(labels=-1), "labels must be from 0 to 2, got values from -1 to 2"),
        (spoiled(pixel=float("nan")), "split must not hold NaN, got 1 of 4800 values"),
    ],
)
@pytest.mark.parametrize("method", [kd.HardTarget(), kd.Distillation()], ids=repr)
def test_what_only_a_later_batch_would_meet_is_named_before_anything_is_learnt(split, message, method):
    model = student()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=message):
        train(model, split, method, teacher=normed_teacher(), steps=2, batch_size=8)
    assert all(map(torch.equal, before, model.parameters()))


def test_numbers_changed_on_the_way_count_from_the_next_step():
    def warmer(state):
        if state.step == 5:
            state.method = state.method.with_hyperparameters(temperature=10.0, alpha=0.2)

    given = {"steps": 10, "batch_size": 32, "progress": False}
    teacher, method = student(7).eval(), kd.Distillation(temperature=2)
    live = kd.train(student(), toy(), method, teacher=teacher, callbacks=[warmer], **given)
    cached = kd.train(student(), toy(), method, teacher=TeacherCache(teacher), callbacks=[warmer], **given)
    steady = kd.train(student(), toy(), method, teacher=TeacherCache(teacher), **given)
    torch.testing.assert_close(torch.tensor(cached.losses), torch.tensor(live.losses), rtol=1e-4, atol=1e-6)
    assert cached.losses[:5] == steady.losses[:5] and cached.losses[5] != pytest.approx(steady.losses[5], rel=1e-2)


def test_the_cache_asks_the_teacher_once_for_each_split():
    teacher, asked = normed_teacher(), []
    teacher.register_forward_hook(lambda *_: asked.append(1))
    cache, split = TeacherCache(teacher), toy()
    first = cache.logits(split)
    assert cache.logits(split) is first and len(asked) == 1
    assert not first.requires_grad
    shuffled = split.take(torch.randperm(len(split)))
    assert not torch.equal(cache.logits(shuffled), first)
    assert len(asked) == 2
    assert cache.logits(split.unlabelled()) is first, "labels are none of the teacher's business"


def test_the_cache_notices_a_changed_teacher():
    cache = TeacherCache(normed_teacher())
    with torch.no_grad():
        cache.teacher[0].weight += 1e-3
    with pytest.raises(ValueError, match="teacher has changed"):
        cache.logits(toy())


def test_the_cache_on_disk_survives_and_is_rebuilt_when_damaged(tmp_path, capsys):
    teacher, split = normed_teacher(), toy()
    expected = TeacherCache(teacher, tmp_path).logits(split)
    (path,) = tmp_path.iterdir()
    asked = []
    teacher.register_forward_hook(lambda *_: asked.append(1))
    assert torch.equal(TeacherCache(teacher, tmp_path).logits(split), expected) and not asked
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert torch.equal(TeacherCache(teacher, tmp_path).logits(split), expected) and asked
    assert "damaged" in capsys.readouterr().out
    assert torch.equal(TeacherCache(teacher, tmp_path).logits(split), expected) and len(asked) == 1


def test_methods_add_and_scale():
    teacher, split = normed_teacher(), toy()
    written = kd.SoftTarget(temperature=3) * 0.7 + 0.3 * kd.HardTarget()
    assert written.needs_teacher and written.needs_labels and written.weights == [0.7, 0.3]
    one = train(student(), split, written, teacher=teacher, steps=10, batch_size=32)
    two = train(student(), split, kd.Distillation(temperature=3, alpha=0.7), teacher=teacher, steps=10, batch_size=32)
    torch.testing.assert_close(torch.tensor(one.losses), torch.tensor(two.losses))
    nested = (kd.HardTarget() + kd.LogitMSE()) * 0.5 + kd.Correlation()
    assert nested.weights == [0.5, 0.5, 1.0]
    assert "temperature=3" in repr(written)


def test_a_methods_own_parameters_are_trained():
    class Shifted(kd.methods.Method):
        needs_teacher, needs_labels = False, True

        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(3))

        def forward(self, batch):
            return nn.functional.cross_entropy(batch.student_logits + self.shift, batch.labels)

    train(student(), toy(), method := Shifted() * 1.0, steps=5, batch_size=32)
    assert method.methods[0].shift.abs().min() > 0


def test_a_transfer_set_needs_no_labels():
    history = train(student(), toy().unlabelled(), kd.SoftTarget(), teacher=normed_teacher(), steps=5, batch_size=32)
    assert len(history.losses) == 5


def test_augmentation_is_seen_by_student_and_teacher_alike():
    seen = []
    teacher = normed_teacher()
    teacher.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model = student()
    model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    train(model, toy(), kd.SoftTarget(), teacher=teacher, steps=3, batch_size=32, augment=random_shift_flip)
    assert all(torch.equal(seen[index], seen[index + 1]) for index in range(0, 6, 2))


def test_an_interrupt_keeps_what_was_learnt(interruptible, capsys):
    model, asked = student(), []

    def interrupt(*_):
        asked.append(1)
        if len(asked) == 7:  # one look before training, then the sixth step
            signal.raise_signal(signal.SIGINT)  # what Jupyter's stop button sends

    model.register_forward_pre_hook(interrupt)
    history = train(model, toy(), steps=50, batch_size=32)
    assert history.interrupted and len(history.losses) == 5
    assert "Interrupted after 5 of 50 steps" in capsys.readouterr().out


def test_frozen_restores_the_flags_after_an_error():
    teacher = normed_teacher()
    with pytest.raises(RuntimeError), frozen(teacher):
        assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
        raise RuntimeError
    assert teacher.training and all(p.requires_grad for p in teacher.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be"),
        ({"steps": 2.5}, "steps must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"split": toy().unlabelled()}, "needs labels"),
        ({"split": toy().take(torch.tensor([], dtype=torch.int64))}, "empty"),
        ({"method": kd.SoftTarget()}, "needs a teacher"),
        (
            {"method": kd.SoftTarget(), "teacher": TeacherCache(normed_teacher()), "augment": random_shift_flip},
            "out of step",
        ),
    ],
)
def test_bad_settings_are_named(change, message):
    settings = {"split": toy(), "method": None, "steps": 5, **change}
    with pytest.raises(ValueError, match=message):
        train(student(), settings.pop("split"), settings.pop("method"), **settings)


def test_divergence_is_an_error_and_not_a_result():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        train(student(), toy(), steps=60, batch_size=32, learning_rate=1e18)


def test_divergence_that_an_evaluation_sees_is_named_by_its_step():
    watch = Evaluate(toy(seed=1), every=1)
    with pytest.raises(FloatingPointError, match=r"answers are no numbers after step \d+; lower learning_rate"):
        train(student(), toy(), steps=30, learning_rate=1e12, callbacks=[watch], progress=False)
