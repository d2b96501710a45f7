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
# # Rescue rare classes
#
# Real data are not balanced and not always right: a few classes have most of the pictures, and some labels are wrong. When does a teacher
# help, and when does a remedy without any teacher do as much?
#
# **You will** cut a long tail, draw balanced batches, adjust logits, and look at every class alone.
# **You will learn** what the remedies without a teacher can do, and what a teacher must know to do more.
# **You need** lab 03. **Time:** 45 minutes of yours; the machine needs about a minute and a half in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
import copy
from dataclasses import replace
from functools import cache

import pandas as pd
import torch
from torch import nn

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)
classes = len(data.classes)

# %% [markdown]
# ## Cut a long tail
#
# 600 pictures of the most frequent class, a hundredth of that of the rarest, and the others between in equal ratios. The test data stay
# balanced: every class matters alike.
#
# Which classes are to be rare? If they were the same ones in every run, we could not tell a rare class from an easy one. So every seed
# begins the tail two classes further on, and over five seeds each class is among the rarest at least once.

# %%
MOST, IMBALANCE, RARE = 600, 100, 3
counts = kd.data.tail_counts(classes, MOST, IMBALANCE)


def order(seed):
    """The classes of one run, from the most frequent to the rarest."""
    return torch.arange(classes).roll(2 * seed).tolist()


def tail(seed):
    return kd.data.long_tail(data.train, MOST, IMBALANCE, seed, order=order(seed))


rarest = {seed: [data.classes[label] for label in order(seed)[-RARE:]] for seed in range(5)}
assert len({name for names in rarest.values() for name in names}) == classes
kd.say(
    f"{sum(counts):,} pictures in all; the three rarest classes have "
    f"{', '.join(map(str, counts[-RARE:]))}. They are, seed by seed: "
    + "; ".join(", ".join(names) for names in rarest.values())
    + "."
)

# %% [markdown]
# How long is the tail? Move the slider from balanced (1) to extreme.

# %%
import ipywidgets as widgets


def shape(imbalance):
    share = torch.tensor(kd.data.tail_counts(classes, MOST, imbalance), dtype=torch.float64)
    return kd.plots.distribution(
        share / share.sum(),
        [f"rank {rank + 1}" for rank in range(classes)],
        title=f"share of the training pictures, {imbalance} to 1",
    )


tail_view = kd.widgets.live(
    shape,
    imbalance=widgets.SelectionSlider(
        options=[1, 3, 10, 30, 100, 300], description="imbalance"
    ),
)
tail_view

# %% tags=["widget-test"]
with tail_view.restored():
    for imbalance in (1, 30, 300):
        tail_view.move(imbalance=imbalance)
        assert f"{imbalance} to 1" in tail_view.description

# %% [markdown]
# ## Draw balanced batches
#
# The oldest remedy: show rare pictures more often.

# %%
kd.exercise("11.sampling_chances")


# %% tags=["exercise"] exercise="11.sampling_chances"
def sampling_chances(labels):
    """Labels (N,) -> the chance of each picture (N,), adding to 1."""
    ...  # your code


# %%
sampling_chances = kd.exercise("11.sampling_chances").check(sampling_chances)

# %%
one = tail(seed=0)
chances = sampling_chances(one.labels.cpu())
drawn = torch.multinomial(
    chances, 20_000, replacement=True, generator=torch.Generator().manual_seed(0)
)
seen = one.labels.cpu()[drawn].bincount(minlength=classes)
assert seen.min() > 0.8 * seen.max()
kd.say(f"Of 20,000 draws, each class gets between {seen.min():,} and {seen.max():,}.")

# %% [markdown]
# ## Look at the rare classes alone
#
# The measure of this lab is the accuracy on the three rarest classes, each seed's own.

# %%
kd.exercise("11.rare_accuracy")


# %% tags=["exercise"] exercise="11.rare_accuracy"
def rare_accuracy(logits, labels, rare):
    """Logits (N, C), labels (N,), the rare classes -> percent."""
    ...  # your code


# %%
rare_accuracy = kd.exercise("11.rare_accuracy").check(rare_accuracy)

# %% [markdown]
# ## Adjust the logits
#
# The cheapest remedy trains nothing. A network that has learnt from the tail, and is in doubt, says what it saw most often: its logit of
# class $c$ holds the logarithm of that class's share $\pi_c$ of the training pictures. Where all classes matter alike, take it away:
#
# $$\hat y = \arg\max_c \; z_c - \log \pi_c$$


# %%
def tail_student(seed, hidden=64):
    """A fresh student; it remembers which classes its run sees often, and which rarely."""
    net = kd.models.perceptron((hidden,), **data.sizes, seed=seed)
    net.order = order(seed)
    return net


class Adjusted(nn.Module):
    """A trained student without its leaning towards what it saw often."""

    def __init__(self, trained):
        super().__init__()
        self.trained, self.order = trained, trained.order
        shares = torch.empty(classes)
        shares[self.order] = torch.tensor(counts) / sum(counts)
        self.register_buffer("leaning", shares.log().to(data.train.device))

    def forward(self, images):
        return self.trained(images) - self.leaning


class ThenAdjusted(kd.Recipe):
    """The same training, and the adjustment after it."""

    def run(self, seed=0, *, progress=False):
        return Adjusted(super().run(seed)).eval()


# %% [markdown]
# ## Measure: remedies with and without a teacher
#
# Without a teacher: plain; label smoothing; the balanced sampler; adjusted logits. With one: a teacher that has learnt from the whole,
# balanced data, without and with the sampler; and one that has seen nothing but the same long tail, drawn evenly. All students see the
# same pictures.
#
# **Predict**: on the rare classes, does a teacher of the whole data bring more than adjusted logits, which cost nothing? And what do adjusted
# logits do to the frequent ones?

# %%
teacher_on_rare = kd.predict(
    "11.teacher-on-rare",
    "KD against adjusted logits, on the three rarest classes:",
    options=["helps", "hurts", "no clear difference"],
)
teacher_on_rare

# %%
who_pays = kd.predict(
    "11.who-pays",
    "Adjusted logits against the plain student, on the three most frequent classes:",
    options=["helps", "hurts", "no clear difference"],
)
who_pays

# %%
plain = kd.Recipe(tail_student, tail, steps=450)
taught = replace(
    plain, method=kd.Distillation(temperature=2, alpha=0.9), teacher=kd.TeacherCache(teacher)
)


@cache
def learnt_from_tail(seed):
    wide = replace(plain, student=lambda seed: tail_student(seed, hidden=256), balanced=True)
    return kd.TeacherCache(wide.run(seed))


arms = {
    "plain": plain,
    "label smoothing": replace(plain, method=kd.methods.LabelSmoothing(smoothing=0.1)),
    "balanced": replace(plain, balanced=True),
    "adjusted": ThenAdjusted(tail_student, tail, steps=450),
    "KD": taught,
    "KD, balanced": replace(taught, balanced=True),
    "tail teacher, balanced": replace(
        taught, teacher=lambda seed: learnt_from_tail(seed), balanced=True
    ),
}


# %%
def by_rank(net, split):
    """Each class's own accuracy, from its run's most frequent class to the rarest."""
    return kd.measure.per_class_accuracy(net, split)[net.order]


def on_rare(net, split):
    logits = kd.measure.predict(net, split)
    return float(rare_accuracy(logits.cpu(), split.labels.cpu(), net.order[-RARE:]))


def on_frequent(net, split):
    return by_rank(net, split)[:RARE].mean().item()


rare = kd.compare(arms, data, seeds=5, metric=on_rare, ledger="11-rare-classes")
frequent = rare.evaluated_by(on_frequent, data)
overall = rare.evaluated_by(kd.measure.accuracy, data)
teacher_on_rare.answer(
    rare.difference("KD", "adjusted").verdict,
    on=rare.figure(ylabel="accuracy on the three rarest, %"),
)

# %% [markdown]
# The arms differ in more than a remedy:

# %%
kd.say(
    f"The teacher of *KD* learnt from {len(data.train):,} labelled pictures, a tail has "
    f"{len(tail(0)):,}. What the teachers' own training took is not in the table below."
)
rare.differs()

# %% [markdown]
# ### What does overall accuracy hide?
#
# The plain student, seed by seed:

# %%
hidden = pd.DataFrame(
    {
        "the rarest": [", ".join(rarest[seed]) for seed in rare.scores.index],
        "on them": rare.scores["plain"].round(1),
        "overall": overall.scores["plain"].round(1),
    }
)
hidden

# %%
hides = kd.difference(overall.scores["plain"] - rare.scores["plain"])
kd.claim("Overall accuracy is above that of the rarest classes", hides)

# %% [markdown]
# The first row is the order of the data. An earlier version of this lab had that row alone, five times with other pictures, and so
# could not tell how hard a class is from how rare it is.
#
# ### Who gains, and who pays?

# %%
groups = {"three rarest": rare, "three most frequent": frequent, "overall": overall}
sides = pd.DataFrame(
    {
        name: {
            arm: f"{found.scores[arm].mean():.1f}  ({found.difference(arm)})" for arm in arms
        }
        for name, found in groups.items()
    }
)
sides

# %%
ranks = {
    arm: sum(by_rank(one, data.test) for one in rare.students[arm]) / 5
    for arm in ("plain", "balanced", "adjusted", "KD")
}
who_pays.answer(
    frequent.difference("adjusted").verdict,
    on=kd.plots.per_class(ranks, counts, [f"rank {rank + 1}" for rank in range(classes)]),
)


# %%
def against(measured, arm, baseline):
    gap = measured.difference(arm, baseline)
    return f"- {arm}, against {baseline}: {gap}, **{gap.verdict}**\n"


kd.claim("KD lifts the rare classes over the plain student", rare.difference("KD"))
kd.say(
    "On the rare classes, without a teacher:\n\n"
    + against(rare, "balanced", "plain")
    + against(rare, "adjusted", "plain")
    + against(rare, "adjusted", "balanced")
    + against(rare, "label smoothing", "plain")
    + "\nWith one:\n\n"
    + against(rare, "KD", "adjusted")
    + against(rare, "KD, balanced", "KD")
    + against(rare, "KD, balanced", "balanced")
    + against(rare, "tail teacher, balanced", "balanced")
    + "\nOver all classes:\n\n"
    + against(overall, "KD", "adjusted")
    + "\nOn the frequent classes:\n\n"
    + against(frequent, "adjusted", "plain")
    + against(frequent, "KD", "plain")
    + against(frequent, "KD", "adjusted")
)

# %% [markdown]
# One reading: the plain student is good at frequent classes partly because it says them too often, and whatever frees it of this leaning
# may take something from them: read the middle column against the first. The sampler shows the same six pictures again and again, and six
# pictures can be learnt by heart; adjusted logits need no repetition. A teacher of the whole data knows more than either, but it reached that
# by more labelled pictures, and its student still has a tail's labels to learn from. So the rival that costs nothing comes first,
# and a teacher has to beat that one, not the plain student. Whether softer targets alone would do, the row of label smoothing says.
#
# ## When it does not help: a teacher that learnt the same noise
#
# Second half: 5,000 balanced pictures, four labels in ten wrong. The clean teacher is the same as above. Three others learnt from the
# very same wrong labels: a wider one, to the end; the wider one, stopped early; and one of the student's own size. Their rivals have no teacher:
# label smoothing, and a student that stops early itself.
#
# Stopping early needs data that say when. Here that is 1,000 more pictures with as many wrong labels: no clean label is
# used.
#
# **Predict**: how many of the three teachers that learnt the wrong labels help all the same?

# %%
wrong_teachers = kd.predict(
    "11.wrong-teachers",
    "How many of the three teachers with wrong labels clearly help?",
    options=["none", "one", "two", "all three"],
)
wrong_teachers


# %%
def noise_on(split, seed):
    return kd.data.noisy_labels(split, share=0.4, seed=seed)


def student(seed, hidden=64):
    return kd.models.perceptron((hidden,), **data.sizes, seed=seed)


class StoppedEarly(kd.Recipe):
    """The same training, looked at every 50 steps; it ends after three looks in a row without a better one."""

    def run(self, seed=0, *, progress=False):
        judge = noise_on(data.validation.sample(1000, seed), seed)
        net, training = self.begin(seed)
        scores, best = [], None

        def look(state):
            nonlocal best
            if state.step % 50 == 0 or state.step == state.steps:
                scores.append(kd.measure.accuracy(net, judge))
                best = copy.deepcopy(net) if scores[-1] == max(scores) else best
                state.stopped = max(scores) not in scores[-3:]

        training(callbacks=[look], progress=False)
        return best


# %%
noisy = kd.Recipe(
    student, lambda seed: noise_on(data.train.sample(5000, seed), seed), steps=600
)
stopped = StoppedEarly(noisy.student, noisy.train, steps=600)
corrected = replace(taught, student=student, train=noisy.train, steps=noisy.steps)


@cache
def taught_by_noise(way, seed):
    hidden = 64 if way == "own size" else 256
    other = replace(
        stopped if way == "stopped" else noisy,
        student=lambda seed: student(seed + 1000, hidden),
    )
    return kd.TeacherCache(other.run(seed))


# %%
noise = kd.compare(
    {
        "noisy labels": noisy,
        "label smoothing": replace(noisy, method=kd.methods.LabelSmoothing(smoothing=0.1)),
        "stopped early": stopped,
        "KD, clean teacher": corrected,
        "KD, noisy teacher": replace(
            corrected, teacher=lambda seed: taught_by_noise("to the end", seed)
        ),
        "KD, noisy teacher stopped early": replace(
            corrected, teacher=lambda seed: taught_by_noise("stopped", seed)
        ),
        "KD, noisy teacher of its size": replace(
            corrected, teacher=lambda seed: taught_by_noise("own size", seed)
        ),
    },
    data,
    seeds=5,
    ledger="11-label-noise",
)
helping = [
    arm
    for arm in noise.scores
    if arm.startswith("KD, noisy teacher") and noise.difference(arm).verdict == "helps"
]
wrong_teachers.answer(["none", "one", "two", "all three"][len(helping)], on=noise.figure())

# %%
noise.table()

# %%
kd.claim(
    "A teacher that learnt from clean labels corrects wrong ones",
    noise.difference("KD, clean teacher"),
)
kd.say(
    "Four teachers:\n\n"
    + against(noise, "KD, clean teacher", "noisy labels")
    + against(noise, "KD, noisy teacher", "noisy labels")
    + against(noise, "KD, noisy teacher stopped early", "noisy labels")
    + against(noise, "KD, noisy teacher of its size", "noisy labels")
    + "\nTheir rivals without a teacher:\n\n"
    + against(noise, "label smoothing", "noisy labels")
    + against(noise, "stopped early", "noisy labels")
    + against(noise, "KD, noisy teacher stopped early", "stopped early")
)

# %% [markdown]
# Why should it matter when a teacher stops? The guess: a network learns first what many pictures have in common, and single wrong labels
# later, one by one. Count how many of the wrong labels each of the three repeats on the pictures that it learnt from:


# %%
def repeated(way, seed):
    """Of the wrong labels that this teacher learnt from, how many it gives back, in percent."""
    pictures = data.train.sample(5000, seed)
    wrong = noise_on(pictures, seed).labels
    said = kd.measure.predict(taught_by_noise(way, seed).teacher, pictures).argmax(dim=1)
    changed = wrong != pictures.labels
    return 100 * (said == wrong)[changed].float().mean().item()


ways = ("to the end", "stopped", "own size")
by_heart = pd.DataFrame({way: [repeated(way, seed) for seed in range(5)] for way in ways})
by_heart.mean().round(1)

# %%
less = kd.difference(by_heart["stopped"] - by_heart["to the end"])
assert less.high < 0
kd.say(
    f"The teacher that stopped early repeats fewer of the wrong labels than one trained to the "
    f"end: {less}. But a stop in the middle also leaves out the steps with a small learning rate, "
    "which finish a network. Which weighs more depends on the data: read the verdicts above. And "
    "the teacher adds to a student that stops early itself only if the last one says so."
)

# %% [markdown]
# ## Recap
#
# - Overall accuracy hides rare classes; look at each class alone, and let rarity change places.
# - What costs nothing comes first: adjusted logits against a long tail, an early stop against wrong labels.
# - A teacher has to beat what costs nothing. What a teacher from the same tail or the same noise adds is measured, not assumed.
#
# ### Check yourself

# %%
quiz = kd.quiz("11")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - An imbalance of 10 and of 300: where does the sampler alone suffice?
# - Let the student learn from the teacher alone on all pictures, without labels: does the tail matter at all?
# - Noise of 20 % and 60 %, and alpha from 0.5 to 1: when should a student stop listening to the labels?
#
# **At full size** (a GPU): a tail of the same shape, cut from all pictures, with the imbalance of CIFAR-100-LT (Cui et al. 2019). That one is
# `kd.data.long_tail(kd.load_images("cifar100").train, 500, 100)`.

# %%
most = data.train.labels.bincount().min().item()
full = kd.at_full_size(
    {arm: arms[arm] for arm in ("plain", "balanced", "KD", "KD, balanced")},
    data,
    seeds=5,
    train=lambda seed: kd.data.long_tail(data.train, most, IMBALANCE, seed, order=order(seed)),
    steps=1800,
    batch_size=512,
    metric=on_rare,
)

# %% [markdown]
# ### Read further
#
# - Cui et al. (2019), *Class-Balanced Loss Based on Effective Number of Samples*.
# - Kang et al. (2020), *Decoupling Representation and Classifier for Long-Tailed Recognition*.
# - Li et al. (2017), *Learning from Noisy Labels with Distillation*.
