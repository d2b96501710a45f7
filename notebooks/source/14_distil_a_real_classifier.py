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
# You have a folder of pictures, and few of them have a label. Others have trained a large network. You want a small one that runs on a
# telephone. This lab goes the whole way from the folder to a model that people use: the folder, augmentation, the file, the card, the decision.
#
# Words of earlier labs are in the [glossary](../docs/glossary.md): *logits*, the numbers that a network gives before the softmax; *KD*, a
# loss of soft targets and labels; and how this course measures.
#
# **You will** put a new head on a trained network, show teacher and student the same views, and hand out a model with its card.
# **You will learn** to ask what a network has seen, what augmentation and a teacher bring apart, what goes wrong after the training, and
# when a model should leave the answer to a person.
# **You need** lab 03. **Time:** 70 minutes of yours; the machine needs less than two minutes in all.

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
# Pictures are sorted into one folder for each class: `train/<class>/`, perhaps with `val/` and `test/` beside `train/`. If there is only
# `<class>/`, the course splits off validation and test pictures itself. To use your own pictures, put their path between the brackets:
# `kd.data.picture_folder("path/to/your/pictures")`. The figure shows some training pictures with their classes.

# %%
folder = kd.data.picture_folder()
data = kd.load_images(folder)
shown = data.train.sample(min(16, len(data.train)))
kd.plots.pictures(
    data.pictures(shown.images), [data.classes[label] for label in shown.labels.tolist()]
)

# %% [markdown]
# Pictures stay grey if all of them are. Large ones are cut to a square and scaled down as they are read. Real folders are seldom in order. A
# program that does not say so trains on something other than you think. Here are two complaints about a bad folder.

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
# Somebody has to give the labels. Here that was done for a few pictures only. The others are there, but nobody has said what they show.

# %%
few = lab.labelled(data)
kd.say(
    f"{len(few):,} of {len(data.train):,} training pictures have a label that we use: about "
    f"{len(few) / len(data.classes):.0f} for each of {len(data.classes)} classes."
)

# %% [markdown]
# ## A teacher that others have trained
#
# **The question:** how can a network that others have trained on other classes teach yours?
#
# With a network connection one takes a ResNet-50 that has learnt on ImageNet (*at full size*, below). Without one, this lab takes a small
# convolutional network of the course. Such a network has two parts. Its *body* is all layers but the last, and holds what it has learnt
# about pictures. Its *head* is the last layer, a linear one, and knows the classes. For N pictures $x$ the body gives *embeddings*
# $h = f(x)$ of shape (N, D), D numbers for each picture. The head makes logits of them:
#
# $$z = h W^T + b$$
#
# Here $z$ are the logits, of shape (N, C) for C classes; $W$, of shape (C, D), and $b$, of shape (C,), are the weights and biases of the
# head. A new head is a new $W$ and $b$ for your classes. The body $f$ stays.
#
# First ask what the body has seen. The course has one body that learnt on CIFAR-10 and one that learnt on glyphs. The two folders that come
# with this lab hold other pictures of those very ten classes. Such a body would make the task easier than yours will be. So here the body
# comes from Fashion-MNIST, which is grey clothes. It has seen none of these classes, and its head knows the wrong ones. The body that has
# seen them stays beside it as a control, that is, as something that differs in one thing only: we call it the *second body*. (With a
# folder of your own the two change places.)

# %%
kd.exercise("14.new_head")


# %% tags=["exercise"] exercise="14.new_head"
def new_head(model, classes):
    """A model that ends in model.classifier, a Linear -> the model with a fresh one for this many classes."""
    ...  # your code


# %%
new_head = kd.exercise("14.new_head").check(new_head)

# %% [markdown]
# There are two ways to go on. The cheap way trains the new head alone and takes a second. It is called a *linear probe*: only $W$ and $b$
# learn, so the body has to be asked only once for each picture. The other way trains body and head together. In both ways the loss is the
# cross-entropy with the few labels.
#
# **Predict** which way makes the better teacher from a body that has seen none of these classes. The choice is made on validation pictures,
# which neither train nor judge.

# %%
better_way = kd.predict(
    "14.probe",
    "For the body that has seen none of these classes, what is the better way on validation pictures?",
    options=["new head only", "body and head"],
)
better_way

# %% [markdown]
# The table has a row for each body and way. Compare the two rows of *this body* in the validation column.

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
    f"With a fresh head {before:.1f} % of the test pictures are right. Trained with the {len(few):,} labels, in the better of the two "
    f"ways, **{after:.1f} %** are. That is our teacher."
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
# ### The head first, then both
#
# **The question:** is a linear probe a good place to go on from?
#
# A fresh head is wrong about everything. In its first steps its gradient moves the body too, and may spoil what the body has learnt. So one
# can train the head alone first, and then body and head at a *low rate*, a small learning rate that changes the body little (Kumar et
# al. 2022). Kumar et al. gain most on test pictures of another kind than the training pictures. Here both are of one kind.
#
# Four ways were measured beforehand, all with *this body*. They have equally many labels, steps, and views in each step. *body and head* has the
# usual rate. *head, then both, low rate* gives half of its steps to the head alone. *body and head, low rate* is its control: the low rate
# without a probe before it. Each way ran with five *seeds*, numbers that fix all that is random in a run. Here a seed also draws which pictures
# have a label. The scores are stored in a file, the *ledger*.
#
# A difference between two ways is *paired*: it is taken seed by seed. The interval is where the mean difference is
# expected, with 95 % confidence, and the *verdict* follows it: "helps" where all of it lies above zero, "hurts" where all lies below, and "no
# clear difference" where zero lies within. The figure shows each way against *body and head*. Look at whether an interval holds zero.

# %%
ways = kd.study("14-low-rate", data).stored()
ways.figure()

# %%
probed = "head, then both, low rate"
kd.say(
    f"The low rate is {lab.LOW_RATE / lab.USUAL_RATE:.0%} of the usual one, both chosen on validation pictures. In points on the "
    "test pictures:\n\n"
    + ways.told(probed, "head only")
    + ways.told(probed, "body and head, low rate")
    + ways.told(probed, "body and head")
    + f"\nThe best of the four on validation pictures is *{ways.best(among=list(ways.scores))}*."
)

# %% [markdown]
# The steps are equal, and they are few. Those that train the head alone are missing when both learn. With more steps, or with test
# pictures of another kind, the order may be another one. The teacher of this lab stays the better one of the table above. It was trained
# for longer than these.

# %% [markdown]
# ## Many views of few pictures
#
# **The question:** the student sees a part of a picture. What should the teacher say about it?
#
# With few pictures one shows a different part of them each time: a random window (a *crop*), scaled up to full size, and mirrored
# where a mirror changes no meaning. This is *augmentation*, and each such picture is a *view*. But what is the right answer for a
# window? Write $a(x)$ for a view of the picture $x$. There are two possible targets for the student's answer to $a(x)$:
#
# $$p_{\text{same}} = \text{softmax}(z_t(a(x)) / T) \qquad p_{\text{whole}} = \text{softmax}(z_t(x) / T)$$
#
# Here $z_t$ are the teacher's logits, of shape (N, C) for N pictures and C classes, $T$ is the temperature, and the two targets are
# probabilities of the same shape. The student's loss is that of lab 03, $L = \alpha T^2 \, \text{KL}(p \,\|\, q) + (1 - \alpha) L_{\text{hard}}$:
# $p$ is one of the two targets, $q = \text{softmax}(z_s(a(x)) / T)$ comes from the student's logits $z_s$, of shape (N, C) too, KL is
# averaged over the N views, $L_{\text{hard}}$ is the cross-entropy with the labels, and $\alpha$ is the teacher's share.
#
# **Predict**: the answer to the *whole* picture comes from a teacher that sees more. Is it the better target for a student that sees only
# the window? Does that depend on the teacher?

# %%
wrong_view = kd.predict(
    "14.whole-picture",
    "For a student that sees windows, answers to the whole picture in place of the window",
    options=["helps", "hurts", "no clear difference"],
)
wrong_view

# %% [markdown]
# The slider moves through the views of one picture, the one for which the teacher's answer moves most. For each class compare the answer
# to the whole picture with the answer to this view.

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
# A teacher is *consistent* when it answers for what the student sees, so that its target is $p_{\text{same}}$ (Beyer et al. 2022). Your next
# task is one step of such a training loop.

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
# This asks the teacher at every step, so a large network works while the small one trains. The training loop does so when it is given the
# teacher itself, `kd.train(..., teacher=teacher, augment=augment)`. It refuses a *cache*, which is a store of answers that were asked for once.
#
# There is another way: draw the views once and keep them. A view that stays the same is a picture like any other, so a cached answer is
# exact. For V views of N pictures this gives V · N pictures, and the labels are repeated in the same order. What is lost is variety: lab 10
# measures when that costs accuracy.

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
# **The question:** do views help, or does the teacher?
#
# Two questions are easily mixed up here. So there are four students, which we call *arms*. On whole pictures learn *labels, no
# views* and *KD, no views*; on views learn *labels only* and *KD, same view*. All of them have the same first weights, the same
# number of steps, and the same number of pictures in each step.
#
# Each arm was trained with five seeds. As above, a difference is paired, and the verdict follows its interval. `kdcourse results 14`
# measures all of this again.
#
# The figure shows three arms, each against *labels only*. Look at whether an interval holds zero.

# %%
study = kd.study("14-views", data)
stored = study.stored()
stored.only("labels, no views", "KD, no views", "KD, same view").figure()

# %%
kd.claim(
    "Views help a student that has labels only",
    stored.difference("labels only", "labels, no views"),
)
kd.say(
    "What views bring, without a teacher and with one:\n\n"
    + stored.told("labels only", "labels, no views")
    + stored.told("KD, same view", "KD, no views")
    + "\nWhat the teacher brings, without views and with them:\n\n"
    + stored.told("KD, no views", "labels, no views")
    + stored.told("KD, same view", "labels only")
)

# %% [markdown]
# An earlier version of this lab had no student with labels and whole pictures. It compared KD *without* views to labels *with* views, and
# said that such a teacher hurts. But two things differed at once. Compare each student with one that differs in a single thing.
#
# The first table shows all arms, each against *labels only*. *KD, all pictures* learns from the teacher alone, on as many views
# in all, of all training pictures. *KD, whole picture* has the teacher's answers to the whole picture, the target
# $p_{\text{whole}}$; the next section is about it. In *second body* the teacher comes from the body that has seen these classes.
# The column *Holm* is stricter than the verdict: with many comparisons a few would come out clear by luck. The second table shows
# in what else the arms differ; a view counts as an input of its own there, with a label of its own. A student of a teacher costs
# more than one of labels, because the teacher's answers have to be computed too. So there is a rival that was not measured: labels
# alone, with as much arithmetic.

# %%
stored.table()

# %%
stored.differs()

# %%
kd.say(
    "Pictures without a label, as many views in all, against views of the labelled ones; and the teacher from the second body, which has "
    "seen the classes of the course's folders:\n\n"
    + stored.told("KD, all pictures", "KD, same view")
    + stored.told("second body: KD, same view", "labels only")
    + stored.told("second body: KD, same view", "KD, same view")
)

# %% [markdown]
# Now two of the arms once more, trained here with two seeds. The table puts the new scores beside the stored ones.

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
    f"The student needs {large['MFLOPs a picture'] / small['MFLOPs a picture']:.0f} times fewer operations than the teacher, but one "
    f"picture takes {small['ms a picture']:.2f} ms in place of {large['ms a picture']:.2f}: in PyTorch a single picture pays for one call a "
    "layer, and this student has many small layers. What runs the file that we hand out, below, pays less for them."
)

# %% [markdown]
# ## When it does not help: the answer to another picture
#
# **The question:** what does it cost to cache the teacher's answers one line too early?
#
# The arm *KD, whole picture* has the same teacher, the same loss and the same views as *KD, same view*. But its answers were cached before the
# pictures were augmented, so its target is $p_{\text{whole}}$. This is an easy mistake: nothing fails, and the loss goes down. (`kd.train`
# refuses a cache beside `augment`, so this arm had to be built around it: `WholeImageAnswers` in `kdcourse/studies/lab_14.py`.)
#
# The figure shows this arm and the right one, under both teachers.

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
    + stored.told("KD, whole picture", "labels only")
    + stored.told("KD, same view", "KD, whole picture")
    + stored.told("second body: KD, whole picture", "labels only")
    + stored.told("second body: KD, same view", "second body: KD, whole picture")
)

# %% [markdown]
# Was your prediction right? We had believed that answers to the whole picture hurt. We had measured it with one teacher: the body that has
# seen these classes, with body and head trained briefly. The two teachers here are a control for that belief. The verdicts above say what
# the mistake costs with each of them.
#
# Why need it not hurt? Here is a guess, which nobody has tested. The answer to the whole picture is right more often, and that helps. But it
# also speaks of things that are not in the window, and a student can only guess at those.

# %% [markdown]
# ## Hand it out
#
# **The question:** what else must be in the file, beside the weights?
#
# What leaves the notebook is a file that somebody else opens, with pixels as a camera gives them. In training, each picture was
# standardised before the network saw it. For a pixel $u$ from 0 to 255 in channel $c$ that is
#
# $$x_c = \frac{u / 255 - m_c}{s_c}$$
#
# where $m_c$ and $s_c$ are the mean and the standard deviation of this channel over all training pictures, scaled to [0, 1]. Whoever uses
# the file must do the same. Nothing fails if it is forgotten: the answers are just worse.

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
# So $m_c$ and $s_c$ go into the file, and it standardises by itself. The division by 255 stays outside: the file takes pixels
# from 0 to 1, as its card says below. Of the students trained above we take the one that is best on *validation* pictures. We
# write it as ONNX, a format that phones, browsers and servers run without Python.

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
# ### In 8 bits
#
# **The question:** can the file be smaller still? A weight in the file is a number of 32 bits. In 8 bits it is a whole number from −127 to 127:
#
# $$w \approx s \cdot \text{round}(w / s), \qquad s = \max |w| / 127$$
#
# Here $w$ are the weights of one layer's output, and $s$ is their *scale*, one number for each output. What flows between the layers gets scales
# too. Those are found beforehand, by sending a few training pictures through the network: *static quantisation*, and the pictures are its
# *calibration*. Lab 12 tells more.

# %%
calibration = kd.deployment.pixels(data, few.take(torch.arange(min(100, len(few)))))
coarse = kd.export.OnnxModel(
    kd.export.int8_onnx(file, target / "student-int8.onnx", calibration)
)
in_8_bits = {
    one.label: {
        "test, %": round(kd.measure.accuracy(one, here), 1),
        "kB": round(kd.measure.size_in_bytes(one) / 1000, 1),
    }
    for one in (outside, coarse)
}
pd.DataFrame.from_dict(in_8_bits, orient="index")

# %%
whole_file, coarse_file = in_8_bits.values()
kd.say(
    f"In 8 bits the file takes {coarse_file['kB'] / whole_file['kB']:.0%} of the bytes, and {coarse_file['test, %']:.1f} % of the "
    f"test pictures are right, in place of {whole_file['test, %']:.1f} %. So small a network has few weights to save on: names and "
    "scales take their share of the file."
)

# %% [markdown]
# ### Its card
#
# A model without a *model card* is used for everything. The card says what the model is, how good it is for each class, and what
# it is not for. Its *calibration error* is the gap between how sure the model is and how often it is right (lab 02). The last
# part is yours: what must nobody use it for?

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
# ## Decide and defend
#
# **The question:** when should the model not answer?
#
# A wrong answer costs something. So does a person who looks at the picture instead. A model can leave the pictures of which it is least
# sure to a person. Its *confidence* in picture n is the largest of its probabilities, and it answers where this reaches a *threshold*
# $\tau$ (tau). The cost of N pictures, on average, is
#
# $$c_n = \max_k p_{nk} \qquad K(\tau) = \frac{1}{N} \sum_{n=1}^{N} \left( a \cdot u_n + e \cdot w_n \right)$$
#
# - $p$ are the model's probabilities at T = 1, of shape (N, C) for C classes; $c$, of shape (N,), are its confidences.
# - $u_n$ is 1 where a person is asked, $c_n < \tau$, else 0. $a$ is what that costs.
# - $w_n$ is 1 where the model answers, $c_n \ge \tau$, and is wrong, else 0. $e$ is what that costs. A right answer costs nothing.
#
# The share of pictures that it answers is its *coverage*. Write the function that finds the cheapest threshold on pictures whose labels
# are known. We use validation pictures for it, and judge on test pictures.

# %%
kd.exercise("14.cheapest_threshold")


# %% tags=["exercise"] exercise="14.cheapest_threshold"
def cheapest_threshold(confidence, right, error, asking):
    """Confidence (N,), right (N,) bool, two costs -> the threshold with the lowest cost; above 1: never answer."""
    ...  # your code


# %%
cheapest_threshold = kd.exercise("14.cheapest_threshold").check(cheapest_threshold)

# %% [markdown]
# Is there a rule that needs no labels? If the probabilities were true, an answer of confidence $c$ would be wrong with probability
# $1 - c$ and cost $e (1 - c)$ on average. Asking costs $a$. So one should answer where $e (1 - c) \le a$, which is *Chow's rule* (1970):
#
# $$\tau_{\text{Chow}} = 1 - a / e$$
#
# Let an error cost as much as five questions. Then Chow's threshold is 0.8. But is a confidence of 0.8 right eight times in ten?
#
# **Predict**: where do the validation pictures put the student's threshold?

# %%
where = kd.predict(
    "14.threshold",
    "Where is the cheapest threshold on validation pictures, beside Chow's 0.8?",
    options=["lower", "higher", "within 0.02 of it"],
)
where

# %% [markdown]
# The left panel shows how many of the answers are right when only the surest pictures are answered: the further left, the fewer
# answers. The right panel shows the student's cost at each threshold. Both are on test pictures. Move the cost of an error. At which
# cost should nobody use this student?

# %%
judged = {
    name: {
        part: kd.deciding.answers(one, getattr(data, part)) for part in ("validation", "test")
    }
    for name, one in {"teacher": teacher, "student": student}.items()
}


def chosen_for(error, name="student"):
    on_validation = judged[name]["validation"]
    return float(cheapest_threshold(on_validation.confidence, on_validation.right, error, 1.0))


def decide(error):
    chow = kd.deciding.chows_threshold(error=error)
    return kd.plots.coverage(
        {name: parts["test"] for name, parts in judged.items()},
        {"chosen on validation": chosen_for(error), "Chow's rule": chow},
        error=error,
    )


deciding = kd.widgets.live(
    decide,
    error=widgets.SelectionSlider(
        options=[1, 2, 5, 10, 20, 50, 100], value=5, description="error costs"
    ),
)
deciding

# %% tags=["widget-test"]
with deciding.restored():
    for error in (1, 10, 100):
        deciding.move(error=error)
        assert f"A wrong answer costs {error}" in deciding.description

# %% [markdown]
# What do the thresholds cost, at five questions for an error? The table has a row for each way to decide: how much is answered, how much
# of it is right, and the cost of a hundred test pictures in questions.

# %%
ERROR = lab.ERROR
threshold, chow = chosen_for(ERROR), kd.deciding.chows_threshold(error=ERROR)
if abs(threshold - chow) <= 0.02:
    where.answer("within 0.02 of it")
else:
    where.answer("lower" if threshold < chow else "higher")

ways_to_decide = {
    "answer always": ("student", 0.0),
    "ask always": ("student", kd.deciding.NEVER),
    "Chow's rule": ("student", chow),
    "chosen on validation": ("student", threshold),
    "teacher, chosen on validation": ("teacher", chosen_for(ERROR, "teacher")),
}
paid = {
    way: 100 * judged[name]["test"].costs(at, error=ERROR)
    for way, (name, at) in ways_to_decide.items()
}


# %%
def row(way):
    name, at = ways_to_decide[way]
    right = judged[name]["test"].accuracy(at)
    return {
        "threshold": "none" if at > 1 else f"{at:.2f}",
        "answered, %": round(judged[name]["test"].coverage(at), 1),
        "right among them, %": "–" if right is None else f"{right:.1f}",
        "cost of 100 pictures": round(paid[way].mean().item(), 1),
    }


pd.DataFrame.from_dict({way: row(way) for way in paid}, orient="index")


# %%
def dearer(way, than="chosen on validation"):
    """By how much a way to decide costs more, picture by picture, with the interval over test pictures."""
    gap = kd.difference((paid[way] - paid[than]).tolist())
    word = {"helps": "dearer", "hurts": "cheaper"}.get(gap.verdict, gap.verdict)
    word = "the same" if gap.mean == gap.low == gap.high == 0 else word
    return f"- {way}: {gap.mean:+.1f} [{gap.low:+.1f}, {gap.high:+.1f}], **{word}**\n"


# %%
found = (
    f"put the threshold at {threshold:.2f}"
    if threshold <= 1
    else "say that it should never answer"
)
kd.say(
    f"Chow's rule would be right for true probabilities, and answers from {chow:.2f} on; validation pictures {found}. "
    "Against the student with the threshold chosen on validation, a hundred test pictures cost, in questions:\n\n"
    + "".join(dearer(way) for way in paid if way != "chosen on validation")
    + "\nThe intervals are about other pictures of this kind and this one student. They do not speak of other students, and not of pictures "
    "of another kind: there both the threshold and the confidence may be wrong."
)

# %% [markdown]
# **Does it hold for other students?** Ten were trained before, with five seeds: *labels only* and *KD, same view*. They differ in the
# teacher's answers, and in the arithmetic for these. Each has a threshold of its own, the cheapest on validation pictures. The table has
# means over the seeds, with their intervals, on test pictures. *Saved* is 100 less the cost of a hundred pictures, so asking always saves 0.

# %%
deciders = kd.study("14-decide", data)
MEASURES = {
    "threshold": "-threshold",
    "answered, %": "-covered",
    "wrong among them, %": "-wrong",
    "saved": "",
    "saved, Chow's rule": "-chow",
    "saved, answering always": "-always",
}
over_seeds = {name: deciders.stored(suffix) for name, suffix in MEASURES.items()}


def spelt(name, arm):
    digits = 2 if name == "threshold" else 1
    return kd.difference(over_seeds[name].scores[arm]).level(digits)


arms = list(over_seeds["saved"].scores)
pd.DataFrame({arm: {name: spelt(name, arm) for name in MEASURES} for arm in arms})

# %%
more, wrong, gain = (
    over_seeds[name].difference("KD, same view", "labels only")
    for name in ("answered, %", "wrong among them, %", "saved")
)
own, chows = (over_seeds[name].scores for name in ("saved", "saved, Chow's rule"))
kd.say(
    "The teacher's student against the student of labels:\n\n"
    f"- answered: {more.told({'helps': 'more', 'hurts': 'less'})}\n"
    f"- wrong among its answers: {wrong.told({'helps': 'more', 'hurts': 'fewer'})}\n"
    f"- saved: {gain.told()}\n\nWhat the threshold of validation pictures saves:\n\n"
    + "".join(
        f"- {arm}: over asking always {kd.difference(own[arm]).told()}, over Chow's rule "
        f"{kd.difference(own[arm] - chows[arm]).told()}\n"
        for arm in arms
    )
    + "\nThe intervals are about other students, and these pictures. Where they hold 0 against asking always, nobody should use such a "
    "student at this price of an error."
)

# %% [markdown]
# ### Your memo
#
# Somebody has to sign for a model. A *deployment memo* says what was measured, what is decided, and why. Fill in the six answers, two or
# three sentences each, and run both cells again. The memo ends with the *rubric*, the table by which it is judged: swap memos with a
# neighbour, and mark each other's.

# %%
mine = {
    "decision": "",
    "threshold": "",
    "cost": "",
    "evidence": "",
    "rival": "",
    "stop": "",
}

# %%
measured = [
    f"{way}: {judged[name]['test'].coverage(at):.0f} % of {len(data.test):,} test pictures answered, a hundred cost {paid[way].mean():.1f} questions."
    for way, (name, at) in ways_to_decide.items()
]
memo = kd.deployment.deployment_memo(f"the student for {data.name}", measured, mine)
(target / "MEMO.md").write_text(memo, encoding="utf-8")
kd.say(memo)

# %% [markdown]
# ### Its page
#
# This view shows the exported file beside its teacher. Move through the test pictures, or upload one of your own, which then takes the
# first place. Try something that is none of the classes.

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
# On a GPU there are four times as many views and longer training. This comes nearer to the patience of Beyer et al. (2022), who draw a new
# view at each step.

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
# With a network connection, and better with a GPU (on Colab: Runtime, Change runtime type, T4), one command goes this whole way on a folder
# of your own photographs:
#
# ```
# kdcourse photographs path/to/your/pictures --teacher resnet50 --student mobilenet_v2
# ```
#
# It makes a linear probe of the teacher, trains one student on labels and one with KD on the same views, lets validation pictures choose, and
# writes the file in 32 and in 8 bits and the card. It reads pictures as a *stream*: a few batches lie in memory, however many there are.
# `--teacher hub:facebook/dinov2-small` takes another body, and with `--tuned` all of the teacher learns, as a student does.
#
# In a notebook, for a folder that fits into memory (at 224 pixels a thousand pictures take 0.6 GB):
#
# ```python
# data = kd.load_images("path/to/your/pictures", size=224)
# teacher = kd.zoo.probe("resnet50", data)
#
# student = kd.models.from_torchvision("mobilenet_v2", classes=len(data.classes))
# kd.train(student, data.train, kd.Distillation(temperature=2, alpha=0.9), teacher=teacher,
#          steps=10_000, batch_size=64, learning_rate=1e-3, augment=kd.data.random_crop)
# ```
#
# Here the teacher itself is given, not a cache, so it is asked about every view at every step.
#
# | on ImageNet, accuracy in % | teacher | student, distilled | source |
# |---|---|---|---|
# | BiT ResNet-152×2 teaches BiT ResNet-50 | 83.0 at 224 pixels, 84.3 at 384 | 80.5 at 160 pixels, 82.8 at 224 | Beyer et al. 2022 |
#
# ### With a teacher, and without
#
# **The question:** when is the teacher worth its time?
#
# Without a folder the command draws one of its own: photographs of painted *signs*, which are told apart by their shape. Here all training
# pictures have a label, so a student of labels alone comes far. What the command compares was measured on these signs beforehand, with five
# seeds. *The probe* and *the tuned body* are two teachers with the same body, the one that learnt on CIFAR-10. In the first only the head has
# learnt the signs, in the second all layers. Both stand in the table as arms, because a teacher has an accuracy, too. Two rivals need no teacher:
# *twice the steps*, and *label smoothing* (lab 01), which softens all labels alike. Compare each teacher with *labels only* first, and then the
# student that it taught.

# %%
signs = kd.stored("14-signs", "sign-pictures")
signs.table()

# %%
kd.say(
    "Each teacher by itself, and then its student:\n\n"
    + signs.told("the probe", "labels only")
    + signs.told("KD from the probe", "labels only")
    + signs.told("KD from the probe", "the probe")
    + signs.told("KD from the probe, alpha 0.5", "KD from the probe")
    + signs.told("the tuned body", "labels only")
    + signs.told("KD from the tuned body", "labels only")
    + "\nThe rivals, and the student of the tuned body beside them:\n\n"
    + signs.told("labels, twice the steps", "labels only")
    + signs.told("label smoothing", "labels only")
    + signs.told("KD from the tuned body", "labels, twice the steps")
    + signs.told("KD from the tuned body", "label smoothing")
)

# %% [markdown]
# A student of KD is asked to answer as its teacher does. With $\alpha = 0.9$ that is nine tenths of the weight, and the teacher's errors are asked
# for, too. Where labels alone reach further than the teacher, it has nothing to add and holds the student back: the student of the probe came to
# where the probe stands. A smaller $\alpha$ holds it back less. The tuned body had the same labels as the students, but it is larger and began with
# trained weights, so it knows what they do not. It helps. But look at what *Holm* leaves of it, and at the rivals without a teacher, from which its
# student shows no clear difference.
#
# What differs besides the method: the table's arithmetic holds the teacher's answers, but not its training, which stands in the teacher's own row. The
# tuned body alone took more than any student. And the probe learnt from whole pictures, as in the command. So ask first what costs nothing,
# and what the command prints: is the teacher above the student of labels on validation pictures?

# %% [markdown]
# ## Recap
#
# - A trained body and a fresh head make a teacher out of few labels. Ask what the body has seen, and try the head alone first: a linear probe.
# - Where the body had not seen the classes, body and head at the usual rate beat a probe, and a probe before a low rate, in as many steps.
# - Where every picture had a label, a teacher below what labels reach hurt its student; one above it helped, but not clearly beyond twice the steps.
# - Views and a teacher are two things: measure what each brings at an equal amount of the other.
# - With augmentation the teacher answers for the view that the student sees: asked at each step, or views drawn once and cached.
# - What training did to the pictures belongs in the file, and what the model cannot do belongs on its card.
# - A model need not answer always. What an error and a question cost decides from which confidence on it should, and validation pictures
#   find that threshold: a rule for true probabilities need not hold for these.
# - The teacher's students saved more questions than those of labels. Whether that is worth it depends on what an error costs.
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
# - A third of the steps, `replace(study.recipes["KD, same view"], steps=300)`: does the teacher still bring anything?
# - Labels only, with as many steps as the teacher's answers cost: `replace(study.recipes["labels only"], steps=3200)`. What is left of
#   the teacher's gain?
# - Teach with the other candidate of the same body, the one that validation did not choose. What does its student lose?
# - Upload a picture of something that is no class. Does a higher temperature make the student's certainty more honest?
#
# ### Read further
#
# - Chow (1970), *On Optimum Recognition Error and Reject Tradeoff*; El-Yaniv, Wiener (2010), on selective classification.
# - Beyer et al. (2022), *Knowledge distillation: A good teacher is patient and consistent*.
# - Kumar et al. (2022), *Fine-tuning can distort pretrained features and underperform out-of-distribution*.
# - Mitchell et al. (2019), *Model Cards for Model Reporting*.
# - Sandler et al. (2018), *MobileNetV2: Inverted Residuals and Linear Bottlenecks*.
