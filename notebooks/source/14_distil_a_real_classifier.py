# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Distil a real classifier
#
# A folder of pictures, few of them labelled; a large network that others have trained; and a small one that is to run on somebody's
# telephone. Everything that stands between a loss and a model that people use: the folder, augmentation, the file, the card.
#
# **You will** put a new head on a trained network, show teacher and student the same views, and hand out a model with its card.
# **You will learn** to ask what a network has seen, what augmentation and a teacher bring apart, and what goes wrong after the training.
# **You need** lab 03. **Time:** 50 minutes of yours; the machine needs less than two minutes in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
import copy
import tempfile
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
import torch

lab = kd.studies.lab_14

# %% [markdown]
# ## A folder of pictures
#
# One folder for each class, pictures in it: `train/<class>/`, perhaps `val/` and `test/` beside it; or just `<class>/`, and the course
# splits it. Put the path of your own between the brackets: `kd.data.picture_folder("path/to/your/pictures")`.

# %%
folder = kd.data.picture_folder()
data = kd.load_images(folder)
shown = data.train.sample(min(16, len(data.train)))
kd.plots.pictures(
    data.pictures(shown.images), [data.classes[label] for label in shown.labels.tolist()]
)

# %% [markdown]
# Grey pictures stay grey if all are; huge ones are cut to a square and scaled down as they are read. Folders of one's own are seldom in
# order, and a program that says nothing about it trains on something else than you think.

# %%
holiday = Path(tempfile.mkdtemp()) / "holiday"
(holiday / "beach").mkdir(parents=True)
(holiday / "beach" / "1.jpg").write_bytes(b"not a picture")


def complaint():
    try:
        kd.load_images(holiday)
    except ValueError as error:
        return str(error)


one_class = complaint()
(holiday / "forest").mkdir()
no_picture = complaint()
assert "two class folders" in one_class and "no readable picture" in no_picture
print(one_class, no_picture, sep="\n")

# %% [markdown]
# Somebody has to give the labels. Here that was done for a few; the other pictures are just there.

# %%
few = lab.labelled(data)
kd.say(
    f"{len(few):,} of {len(data.train):,} training pictures have a label that we use: about "
    f"{len(few) / len(data.classes):.0f} for each of {len(data.classes)} classes."
)

# %% [markdown]
# ## A teacher that others have trained
#
# With a network connection that is a ResNet-50 with ImageNet in its weights (*at full size*, below). Unplugged it is a convnet of the
# course's own. What such a network has learnt lies in its *body*, all layers but the last; the last one is its *head*.
#
# Ask first what the body has seen. The course has one that learnt on CIFAR-10 and one that learnt on glyphs. The two folders that come
# with this lab hold other pictures of those very ten classes, so such a body would make the task easier than yours will be. Here the body
# comes from Fashion-MNIST: grey clothes. It has seen none of these classes, and its head knows the wrong ones. The body that has seen
# them stays beside it as a control, the *second body*. (With a folder of your own the two change places.)

# %%
kd.exercise("14.new_head")


# %% tags=["exercise"] exercise="14.new_head"
def new_head(model, classes):
    """A model that ends in model.classifier, a Linear -> the model with a fresh one for this many classes."""
    ...  # your code


# %%
new_head = kd.exercise("14.new_head").check(new_head)

# %% [markdown]
# There are two ways on. The cheap one trains the new head alone and takes a second: a *linear probe*. The other trains body and head.
# **Predict** which makes the better teacher of a body that has seen none of these classes. Validation pictures choose.

# %%
better_way = kd.predict(
    "14.probe",
    "For the body that has seen none of these classes, what is the better way on validation pictures?",
    options=["new head only", "body and head"],
)
better_way

# %%
home, second = lab.homes(data)
beginning = new_head(kd.zoo.pretrained(data, home), len(data.classes)).to(few.device)
before = kd.measure.accuracy(beginning, data.test)

rows = {
    (body, way): {
        "validation, %": kd.measure.accuracy(candidate, data.validation),
        "test, %": kd.measure.accuracy(candidate, data.test),
    }
    for body, learnt_on in {"this body": home, "second body": second}.items()
    for way, candidate in lab.candidates(data, learnt_on).items()
}
teachers = pd.DataFrame.from_dict(rows, orient="index").round(1)
teachers

# %%
chosen = teachers.loc["this body", "validation, %"].idxmax()
better_way.answer(chosen)

# %%
teacher = lab.teacher(data)
after = kd.measure.accuracy(teacher, data.test)
kd.say(
    f"With a fresh head: {before:.1f} %. Trained with the {len(few):,} labels, the better of the two ways: **{after:.1f} %** of the "
    "test pictures. That is our teacher."
)
assert after > before

# %%
own = lab.own_head(data)
if own is not None:
    kd.say(
        f"The second body learnt these very classes. The head that it came with, and that we throw away, is right on {own:.1f} % of "
        "these test pictures, without a single label of ours. Where a new head alone beats training the whole, ask whether the body "
        "has had your classes before: then little is left to learn, and what you measure need not hold for classes that it has not seen."
    )

# %% [markdown]
# ## Many views of few pictures
#
# With few pictures one shows a different part of them each time: a random window, scaled up, mirrored where a mirror changes no meaning.
# A student then never sees the same thing twice. But what is the right answer for a window?
#
# **Predict**: a cached answer to the *whole* picture is the better informed one. Is it the better target for a student that sees
# the window? Does that depend on the teacher?

# %%
wrong_view = kd.predict(
    "14.whole-picture",
    "For a student that sees windows, answers to the whole picture in place of the window",
    options=["helps", "hurts", "no clear difference"],
)
wrong_view

# %%
cache, views = lab.asked(data, home), lab.views(data)
whole, each = (cache.logits(split).softmax(dim=1) for split in (few, views))

moved = (each - whole.repeat(lab.VIEWS, 1)).abs().sum(dim=1) / 2
place = int(moved.argmax()) % len(few)


def look(view):
    number = view * len(few) + place
    return kd.plots.opinions(
        data.pictures(views.images[[number]])[0],
        f"view {view} of picture {place}, {data.classes[int(few.labels[place])]}",
        {"teacher, of the whole picture": whole[place], "teacher, of this view": each[number]},
        data.classes,
    )


looking = kd.widgets.live(
    look, view=widgets.IntSlider(0, min=0, max=lab.VIEWS - 1, description="view")
)
looking

# %% tags=["widget-test"]
with looking.restored():
    for view in (0, lab.VIEWS // 2, lab.VIEWS - 1):
        looking.move(view=view)
        assert (
            f"view {view} of picture" in looking.description
            and "this view" in looking.description
        )

# %%
turned = (each.argmax(dim=1) != whole.argmax(dim=1).repeat(lab.VIEWS)).float().mean().item()
kd.say(
    f"For {turned:.0%} of the views the teacher's first choice differs from that for the whole picture; on average "
    f"{moved.mean():.0%} of its probability moves."
)

# %% [markdown]
# A teacher is *consistent* when it answers for what the student sees. In a training loop:

# %%
kd.exercise("14.same_view")


# %% tags=["exercise"] exercise="14.same_view"
def same_view(pictures, teacher, augment):
    """Pictures (N, C, H, W) -> their views, augment(pictures), and the teacher's logits (N, classes) for those."""
    ...  # your code


# %%
same_view = kd.exercise("14.same_view").check(same_view)

# %%
augment = lab.augmentation(data)
seen, told = same_view(few.images[:8], teacher, augment)
torch.testing.assert_close(told, teacher(seen), rtol=1e-3, atol=1e-3)

# %% [markdown]
# That asks the teacher at every step: a large network at work for a small one's training. The loop does it when it gets the teacher
# itself, `kd.train(..., teacher=teacher, augment=augment)`, and refuses a cache there. The other way: draw the views once and keep them.
# A view that stays is a picture like any other, and then a cache is exact.

# %%
kd.exercise("14.fixed_views")


# %% tags=["exercise"] exercise="14.fixed_views"
def fixed_views(images, labels, augment, count):
    """Pictures (N, C, H, W), labels (N,) -> (count · N, C, H, W), (count · N,): all first views, then all second ones, …"""
    ...  # your code


# %%
fixed_views = kd.exercise("14.fixed_views").check(fixed_views)

# %%
same_luck = partial(augment, generator=torch.Generator(few.device).manual_seed(0))
mine, labels = fixed_views(few.images, few.labels, same_luck, lab.VIEWS)
assert torch.equal(mine, views.images) and torch.equal(labels, views.labels)

# %% [markdown]
# ## Measure
#
# All students have the same first weights, the same steps and the same number of pictures a step. Stored (`kdcourse results 14` repeats
# it), over five seeds. First two questions that are easily mixed up. Do views help? Does a teacher help? So there are four students: whole
# pictures or views, labels only or KD.

# %%
study = kd.study("14-views", data)
stored = study.stored()
stored.only("labels, no views", "KD, no views", "KD, same view").figure()


# %%
def against(arm, baseline):
    gap = stored.difference(arm, baseline)
    return f"- {arm}, against {baseline}: {gap}, **{gap.verdict}**\n"


kd.claim(
    "Views help a student that has labels only",
    stored.difference("labels only", "labels, no views"),
)
kd.say(
    "What views bring, without a teacher and with one:\n\n"
    + against("labels only", "labels, no views")
    + against("KD, same view", "KD, no views")
    + "\nWhat the teacher brings, without views and with them:\n\n"
    + against("KD, no views", "labels, no views")
    + against("KD, same view", "labels only")
)

# %% [markdown]
# An earlier version of this lab had no student with labels and whole pictures. It held KD *without* views against labels *with* views,
# and said that such a teacher hurts. Two things differed. Hold each student against the one that differs in a single thing.
#
# Now all of them, and in what they differ beside the score. A student of a teacher costs more than one of labels: the teacher's answers
# count too. The column *Holm* allows for so many arms being held against one.

# %%
stored.table()

# %%
stored.differs()

# %%
kd.say(
    "Pictures without a label, as many views in all, against views of the labelled ones; and the teacher from the second body, which has "
    "seen the classes of the course's folders:\n\n"
    + against("KD, all pictures", "KD, same view")
    + against("second body: KD, same view", "labels only")
    + against("second body: KD, same view", "KD, same view")
)

# %% [markdown]
# A part of it again, here and now.

# %%
again = study.run("labels only", "KD, same view", seeds=2)
beside = stored.beside(again)
beside

# %%
students = again.students
sizes = kd.measure.summary(
    {"teacher": teacher, "student": students["KD, same view"][0]}, data.test
)
sizes

# %%
large, small = sizes.to_dict("records")
kd.say(
    f"{large['MFLOPs a picture'] / small['MFLOPs a picture']:.0f} times fewer operations, and {small['ms a picture']:.2f} ms "
    f"for one picture in place of {large['ms a picture']:.2f}: in PyTorch a picture alone pays for calls, one a layer, and "
    "this student has many small ones. What runs the file that we hand out, below, pays less for them."
)

# %% [markdown]
# ## When it does not help: the answer to another picture
#
# One student above had the same teacher, the same loss and the same views. Only the answers had been cached before the pictures were
# augmented. One line too early, nothing fails, the loss goes down. (`kd.train` refuses a cache beside `augment`, so this arm had to be
# built around it: `WholeImageAnswers` in `kdcourse/studies/lab_14.py`.)

# %%
four = stored.only(
    *("KD, whole picture", "KD, same view"),
    *("second body: KD, whole picture", "second body: KD, same view"),
)
wrong_view.answer(
    stored.difference("KD, whole picture", "KD, same view").verdict, on=four.figure()
)

# %%
kd.say(
    "Answers to the whole picture, under the one teacher and under the other:\n\n"
    + against("KD, whole picture", "labels only")
    + against("KD, same view", "KD, whole picture")
    + against("second body: KD, whole picture", "labels only")
    + against("second body: KD, same view", "second body: KD, whole picture")
)

# %% [markdown]
# Was your prediction right? We believed that answers to the whole picture hurt. One teacher had said so: the body that has seen these
# classes, trained on briefly, body and head. The two teachers here are the control, and the verdicts above say what the mistake costs with
# each. A guess at why it need not hurt: the whole picture's answer is right more often, and that helps; but it also speaks of what is not
# in the window, and of that a student can only guess.

# %% [markdown]
# ## Hand it out
#
# What leaves the notebook is a file that somebody else opens, with pixels as a camera gives them. Whatever training did to the pictures
# before the network saw them, that somebody has to do too, and nothing fails if it is done wrong: the answers are just worse.

# %%
kd.exercise("14.from_pixels")


# %% tags=["exercise"] exercise="14.from_pixels"
def from_pixels(pixels, mean, std):
    """uint8 (N, H, W, 3), and the training split's mean and deviation (3,) of pictures in [0, 1] -> (N, 3, H, W)."""
    ...  # your code


# %%
from_pixels = kd.exercise("14.from_pixels").check(from_pixels)

# %%
eight = data.pictures(data.test.images[:8])
if eight.ndim == 4:  # in colour
    bytes_of_a_camera = torch.from_numpy((255 * eight).round().astype("uint8"))
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    standardised = from_pixels(bytes_of_a_camera, mean, std)
    assert torch.allclose(standardised, data.test.images[:8].cpu(), atol=1e-2)

# %% [markdown]
# So it goes into the file. Of the students trained above we take the one that is best on *validation* pictures, and write it as ONNX,
# which phones, browsers and servers run without Python.

# %%
best_arm = again.validation.max().idxmax()
best_seed = int(again.validation[best_arm].to_numpy().argmax())
student = students[best_arm][best_seed]

deployed = kd.deployment.Deployed(student, data)
pixels = kd.deployment.pixels(data, data.test)
target = Path("exported") / data.name
target.mkdir(parents=True, exist_ok=True)
file = kd.export.to_onnx(deployed, pixels, target / "student.onnx")

# %%
outside, here = kd.export.OnnxModel(file), pixels.to("cpu")
inside = copy.deepcopy(deployed).cpu()  # a GPU rounds otherwise
theirs, ours = outside(here.images), kd.measure.predict(inside, here)
largest = (theirs - ours).abs().max().item()
assert largest < 1e-4
forgotten = kd.measure.accuracy(student, pixels)
kd.say(
    f"ONNX Runtime gives the same answers, the largest difference of any logit is {largest:.0e}: "
    f"**{kd.measure.accuracy(outside, here):.1f} %** right on the test pictures, from a file of "
    f"{file.stat().st_size / 1000:.0f} kB, {kd.measure.latency(outside, here):.2f} ms for one picture. The same "
    f"network without its standardisation, as it leaves most notebooks: {forgotten:.1f} % right."
)

# %% [markdown]
# ### Its card
#
# A model without a card is used for everything. The last part is yours: what must nobody use it for?

# %%
card = kd.deployment.model_card(
    {"teacher": teacher, "student": student},
    data,
    training=f"Arm *{best_arm}*, seed {best_seed}: {len(few):,} labelled pictures, {lab.VIEWS} views of each, a teacher of "
    f"{kd.measure.parameters(teacher):,} parameters. Chosen on {len(data.validation):,} validation pictures.",
    limits=[
        "Pictures of anything else: it always names one of its classes, and can be sure of it.",
        "Decisions about people.",
    ],
    file_bytes=file.stat().st_size,
)
(target / "MODEL_CARD.md").write_text(card, encoding="utf-8")
kd.say(card)

# %% [markdown]
# ### Its page
#
# The exported file beside its teacher. Move through the test pictures, or upload one of your own: it takes the first place. Try
# something that is none of the classes.

# %%
page = kd.widgets.picture_classifier(
    {"teacher": kd.deployment.Deployed(teacher, data), "student, the file": outside},
    pixels.sample(min(200, len(pixels))),
    data.classes,
)
page

# %% tags=["widget-test"]
with page.restored():
    for picture in (0, page.controls["picture"].max // 2, page.controls["picture"].max):
        page.move(picture=picture)
        assert f"test picture {picture}" in page.description
    noise = page.draw(0, ({"name": "notes.txt", "content": b"no picture"},))
    assert "no picture that can be read" in noise.description

# %% [markdown]
# ## At full size
#
# On a GPU: four times as many views, and longer training, towards the patience of Beyer et al. (2022), who draw a view anew at each step.

# %%
full = kd.at_full_size(
    {name: study.recipes[name] for name in ("labels only", "KD, same view")},
    data,
    seeds=3,
    train=lambda seed: kd.data.augmented(few, 4 * lab.VIEWS, augment=augment, seed=seed),
    steps=1500,
    batch_size=64,
)

# %% [markdown]
# The same calls, with a network connection and a GPU (on Colab: Runtime, Change runtime type, T4), on a folder of your own photographs.
# At 224 pixels a thousand of them take 0.6 GB of memory; `size=128` takes a third of it.
#
# ```python
# data = kd.load_images("path/to/your/pictures", size=224)
# classes, augment = len(data.classes), kd.data.random_crop
#
# teacher = kd.models.from_torchvision("resnet50", classes=classes)
# kd.train(teacher, data.train, steps=1000, batch_size=64, learning_rate=1e-4, augment=augment)
#
# student = kd.models.from_torchvision("mobilenet_v2", classes=classes)
# kd.train(student, data.train, kd.Distillation(temperature=2, alpha=0.9), teacher=teacher,
#          steps=10_000, batch_size=64, learning_rate=1e-3, augment=augment)
# ```
#
# The teacher itself is given, so it is asked about every view at every step. For grey pictures add `channels=1` to both networks.
#
# | on ImageNet | teacher | student, distilled | source |
# |---|---|---|---|
# | BiT ResNet-152×2 teaches BiT ResNet-50 | 83.0 at 224 pixels, 84.3 at 384 | 80.5 at 160 pixels, 82.8 at 224 | Beyer et al. 2022 |
#
# ## Recap
#
# - A trained body and a fresh head make a teacher out of few labels. Ask what the body has seen, and try the head alone first.
# - Views and a teacher are two things: measure what each brings at an equal amount of the other.
# - With augmentation the teacher answers for the view that the student sees: asked at each step, or views drawn once and cached.
# - What training did to the pictures belongs into the file, and what the model cannot do onto its card.
#
# ### Check yourself

# %%
quiz = kd.quiz("14")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Your own folder. How many labels must you give until the teacher adds nothing?
# - `lab.VIEWS` of 1, 2 and 32 for the same budget: when are there enough?
# - A third of the steps, `replace(study.recipes["KD, same view"], steps=300)`: who needs the patience, teacher or student?
# - Teach with the other candidate of the same body, the one that validation did not choose. What does its student lose?
# - Upload a picture of something that is no class. Does a higher temperature make the student's certainty more honest?
#
# ### Read further
#
# - Beyer et al. (2022), *Knowledge distillation: A good teacher is patient and consistent*.
# - Mitchell et al. (2019), *Model Cards for Model Reporting*.
# - Sandler et al. (2018), *MobileNetV2: Inverted Residuals and Linear Bottlenecks*.
