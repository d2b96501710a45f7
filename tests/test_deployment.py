"""A network of others with a head of one's own, and a student on its way to people: file, card and page agree with it."""

import html
import re
from dataclasses import replace

import ipywidgets
import pytest
import torch
from nbconvert.filters import markdown2html
from torch import nn

import kdcourse as kd
from kdcourse.data.splits import ImageData, Split
from kdcourse.deployment import card as deployment
from kdcourse.deployment import export
from kdcourse.system.storage import load_tensors
from kdcourse.widgets.classifier import picture_classifier, uploaded


def toy(count: int, seed: int, channels: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randn(count, channels, 32, 32, generator=generator) + labels.view(-1, 1, 1, 1)
    return Split(images.contiguous(memory_format=torch.channels_last), labels)


def folder(channels: int = 3) -> ImageData:
    parts = [toy(count, seed, channels) for seed, count in enumerate((24, 6, 9))]
    return ImageData(
        "pets", ("ant", "bee", "cow"), *parts, (0.4, 0.5, 0.6)[:channels], (0.1, 0.2, 0.3)[:channels], "folder"
    )


def student(channels: int = 3) -> nn.Module:
    return kd.models.separable((4, 8), classes=3, channels=channels)


# --- networks of others


def test_a_new_head_keeps_the_body_and_follows_its_seed():
    one, two = (kd.models.with_new_head(kd.models.convnet((4, 8), seed=5), 3, seed=seed) for seed in (0, 1))
    assert one(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert torch.equal(one.stage1[0].weight, kd.models.convnet((4, 8), seed=5).stage1[0].weight)
    assert not torch.equal(one.classifier.weight, two.classifier.weight)
    with pytest.raises(ValueError, match="classes must be a whole number of at least 2, got 1"):
        kd.models.with_new_head(one, 1)
    with pytest.raises(ValueError, match="must end in a linear layer, and ReLU has none"):
        kd.models.with_new_head(nn.ReLU(), 2)


def test_grey_pictures_begin_from_the_network_that_ships():
    data = folder(1)
    model = kd.zoo.pretrained(data)
    weights, _ = load_tensors(kd.zoo.SHIPPED / "glyphs-convnet.safetensors")
    assert torch.equal(model.stage3[0].weight, weights["stage3.0.weight"].float())
    assert model(data.test.images).shape == (9, 3) and all(one.requires_grad for one in model.parameters())


def test_a_body_from_grey_pictures_takes_colour_ones_and_answers_as_it_did():
    grey, colour = (kd.zoo.body(folder(channels), "fashion-mnist").eval() for channels in (1, 3))
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(colour(images), grey(images.mean(dim=1, keepdim=True)), rtol=1e-3, atol=1e-3)
    back = kd.models.with_channels(colour, 1)
    torch.testing.assert_close(back(images[:, :1]), grey(images[:, :1]), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="home must be one of cifar10, glyphs, fashion-mnist, got 'mars'"):
        kd.zoo.pretrained(folder(), "mars")


def test_a_network_that_is_not_stored_is_made_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(kd.zoo.store, "SHIPPED", tmp_path / "nothing")
    monkeypatch.setattr(kd.zoo.images, "HOME_CLASSES", 3)
    monkeypatch.setattr(kd.zoo.images, "BODY", replace(kd.zoo.images.BODY, quick_steps=2, batch_size=8))
    asked = []
    monkeypatch.setattr(kd.data, "load_images", lambda name, fallback: asked.append((name, fallback)) or folder())
    one, two = kd.zoo.pretrained(folder()), kd.zoo.pretrained(folder())
    assert asked == [("cifar10", False)] and capsys.readouterr().out.count("stored yet") == 1
    assert torch.equal(one.stage3[0].weight, two.stage3[0].weight), "what is stored is what was used"


def test_torchvisions_networks_are_distilled_by_the_same_call():
    """The full-size call of lab 14, with fresh weights and a few pictures."""
    data, crop = folder(), kd.data.random_crop
    teacher = kd.models.from_torchvision("resnet50", classes=3, weights=None)
    small = kd.models.from_torchvision("mobilenet_v2", classes=3, weights=None)
    kd.train(teacher, data.train, steps=1, batch_size=4, augment=crop, progress=False)
    method = kd.Distillation(temperature=2, alpha=0.9)
    history = kd.train(small, data.train, method, teacher=teacher, steps=2, batch_size=4, augment=crop, progress=False)
    assert len(history.losses) == 2 and small.label == "mobilenet_v2"
    assert kd.measure.parameters(small) < kd.measure.parameters(teacher) / 5


def test_grey_pictures_are_shown_to_a_colour_network_three_times():
    colour, grey = (
        kd.models.from_torchvision("mobilenet_v2", classes=3, weights=None, channels=channels).eval()
        for channels in (3, 1)
    )
    picture = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(grey(picture), colour(picture.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"name must be one of torchvision's classifiers .*got 'resnet5'"):
        kd.models.from_torchvision("resnet5", classes=3)


# --- on its way to people


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_handed_out_takes_pixels_as_they_are(channels, tmp_path):
    data = folder(channels)
    model = student(channels)
    deployed = deployment.Deployed(model, data)
    raw = Split(data.test.images * deployed.std + deployed.mean, data.test.labels)
    torch.testing.assert_close(deployed(raw.images), model(data.test.images), rtol=1e-3, atol=1e-4)
    assert kd.measure.accuracy(deployed, raw) == kd.measure.accuracy(model, data.test)
    pixels = deployment.pixels(data, data.test)
    assert pixels.images.min() >= 0 and pixels.images.max() <= 1 and torch.equal(pixels.labels, data.test.labels)

    file = export.to_onnx(deployed, pixels, tmp_path / "model.onnx")
    outside = export.OnnxModel(file)
    for count in (1, 9):
        torch.testing.assert_close(
            outside(pixels.images[:count]), deployed(pixels.images[:count]), rtol=1e-3, atol=1e-4
        )


def test_a_card_says_what_was_measured():
    data = folder()
    models = {"teacher": student(), "student": student().eval()}
    card = deployment.model_card(models, data, training="Taught for a minute.", limits=["Faces."], file_bytes=12_345)
    by_class = kd.measure.per_class_accuracy(models["student"], data.test).tolist()
    assert card.startswith("# student: pictures of pets\n") and "12 kB" in card and "- Faces." in card
    assert f"| bee | 3 | {by_class[1]:.1f} |" in card and "Taught for a minute." in card and "32×32 colour" in card
    assert f"| teacher | {kd.measure.accuracy(models['teacher'], data.test):.1f} |" in card
    with pytest.raises(ValueError, match="models must hold"):
        deployment.model_card({}, data, training="", limits=[], file_bytes=0)


# --- the page


@pytest.fixture
def view():
    data = folder()
    return picture_classifier(
        {"teacher": student(), "student": student()}, deployment.pixels(data, data.test), data.classes
    )


def test_the_page_follows_its_slider(view):
    for place, name in ((0, "ant"), (4, "bee"), (8, "cow")):
        view.move(picture=place)
        assert view.description.startswith(f"test picture {place}, {name}. teacher: most likely ")
        assert "student: most likely" in view.description
    with pytest.raises(ValueError, match="picture must be within the range"):
        view.move(picture=9)


def test_an_upload_takes_the_first_place(view, tmp_path):
    from PIL import Image

    Image.new("L", (50, 20), 200).save(tmp_path / "mine.png")
    file = (tmp_path / "mine.png").read_bytes()
    seven = {"mine.png": {"metadata": {"name": "mine.png"}, "content": file}}
    eight = ({"name": "mine.png", "content": memoryview(file)},)
    assert uploaded(seven) == uploaded(eight) == ("mine.png", file)
    assert uploaded({}) is uploaded(()) is None
    for value in (seven, eight):
        assert view.draw(0, value).description.startswith("your mine.png. teacher: ")
        assert view.draw(1, value).description.startswith("test picture 1, bee.")
    broken = view.draw(0, ({"name": "notes.txt", "content": b"no picture"},)).description
    assert broken.startswith("notes.txt is no picture that can be read; test picture 0, ant.")


def test_the_upload_is_a_core_control(view):
    assert isinstance(view.controls["yours"], ipywidgets.FileUpload)


def test_nothing_to_show_is_an_error():
    data = folder()
    pixels = deployment.pixels(data, data.test)
    with pytest.raises(ValueError, match="got 0 models and 9 pictures"):
        picture_classifier({}, pixels, data.classes)
    with pytest.raises(ValueError, match="no labels"):
        picture_classifier({"one": student()}, pixels.unlabelled(), data.classes)


NAMES = ["cat|dog", "two\nlines", "<b>bold</b>", "Ba$$in", "**bold**", "[a](javascript:b)", "`code`", "犬"]


@pytest.mark.parametrize("name", NAMES)
def test_a_class_of_any_name_has_one_row_of_the_card(name):
    """As a page shows it: in GitHub's Markdown, and where dollars make formulas."""
    data = replace(folder(), classes=("ant", name, "cow"), name=name)
    models = {name: student(), f"{name}, small": student()}
    card = deployment.model_card(models, data, training="", limits=[], file_bytes=1)
    page = markdown2html(card)
    rows = [re.sub("<.*?>", "", row) for row in re.findall("<tr>(.*?)</tr>", page, re.DOTALL)]
    shown = [html.unescape(row).split("\n") for row in rows]
    line = " ".join(name.split())
    assert [row[1].strip() for row in shown] == ["model", line, f"{line}, small", "class", "ant", line, "cow"]
    assert not re.search(r"<(b|em|code)>|javascript:b\"|>[^<]*\$\$", page)


@pytest.mark.parametrize("limit", ["Prices: from $5 to $9_.", "<script>x</script>", "Under 3|4 years", "1. *Faces*"])
def test_a_limit_is_a_sentence_and_no_markup(limit):
    card = deployment.model_card({"one": student()}, folder(), training="", limits=[limit], file_bytes=1)
    page = markdown2html(card)
    shown = page[page.index("<li>") : page.index("</li>")]
    assert set(re.findall(r"<(\w+)", shown)) <= {"li", "span"} and html.unescape(re.sub("<.*?>", "", shown)) == limit
    assert "$5" not in shown, "a page would look for a formula"
