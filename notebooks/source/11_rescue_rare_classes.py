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
# Real data are not balanced and not always right: a few classes have most of the pictures, and some labels are wrong. A teacher that knows
# better can help with both, and one that learnt from the same data cannot.
#
# **You will** cut a long tail, draw balanced batches, and look at every class alone.
# **You will learn** what a balanced sampler can and cannot do, and what a teacher must know to help.
# **You need** lab 03. **Time:** 45 minutes of yours; the machine needs about a minute and a quarter in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import torch

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)
classes = len(data.classes)

# %% [markdown]
# ## Cut a long tail
#
# 600 pictures of the first class, a hundredth of that of the last, and the others between in equal ratios. The test data stay
# balanced: every class matters alike.

# %%
MOST, IMBALANCE = 600, 100
counts = kd.data.tail_counts(classes, MOST, IMBALANCE)
rare = list(range(classes - 3, classes))


def tail(seed):
    return kd.data.long_tail(data.train, MOST, IMBALANCE, seed)


kd.say(
    f"{sum(counts):,} pictures in all. The three rarest classes, "
    + ", ".join(f"{data.classes[label]} ({counts[label]})" for label in rare)
    + f", have {sum(counts[label] for label in rare)} together."
)

# %% [markdown]
# How long is the tail? Move the slider from balanced (1) to extreme.

# %%
import ipywidgets as widgets


def shape(imbalance):
    share = torch.tensor(kd.data.tail_counts(classes, MOST, imbalance), dtype=torch.float64)
    return kd.plots.distribution(
        share / share.sum(),
        data.classes,
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
# The measure of this lab is the accuracy on the three rarest classes.

# %%
kd.exercise("11.rare_accuracy")


# %% tags=["exercise"] exercise="11.rare_accuracy"
def rare_accuracy(logits, labels, rare):
    """Logits (N, C), labels (N,), the rare classes -> percent."""
    ...  # your code


# %%
rare_accuracy = kd.exercise("11.rare_accuracy").check(rare_accuracy)

# %% [markdown]
# ## Measure: four students and a teacher that knows better
#
# Plain; balanced; taught by a teacher that has learnt from the whole, balanced data; and both at once. All see the same long-tailed
# pictures. A fifth is taught by a teacher that has seen nothing but the same long tail.
#
# **Predict** the order on the rare classes.

# %%
plain = kd.Recipe(partial(kd.models.perceptron, (64,)), tail, steps=600)
taught = replace(
    plain, method=kd.Distillation(temperature=2, alpha=0.9), teacher=kd.TeacherCache(teacher)
)


def tail_teacher(seed):
    wide = replace(plain, student=partial(kd.models.perceptron, (256,)), balanced=True)
    return kd.TeacherCache(wide.run(seed))


arms = {
    "plain": plain,
    "balanced": replace(plain, balanced=True),
    "KD": taught,
    "KD, balanced": replace(taught, balanced=True),
    "tail teacher, balanced": replace(taught, teacher=tail_teacher, balanced=True),
}


def on_rare(model, split):
    return float(rare_accuracy(kd.measure.predict(model, split), split.labels, rare))


outcome = kd.compare(arms, data, seeds=5, metric=on_rare, ledger="11-rare-classes")
outcome.figure(ylabel="accuracy on the three rarest, %")

# %%
overall = outcome.evaluated_by(kd.measure.accuracy, data)
overall.table()

# %%
by_class = {
    arm: sum(kd.measure.per_class_accuracy(one, data.test) for one in outcome.students[arm])
    / 5
    for arm in ("plain", "balanced", "KD, balanced")
}
kd.plots.per_class(by_class, counts, data.classes)

# %%
kd.claim("KD lifts the rare classes over the plain student", outcome.difference("KD"))
sampler, both = outcome.difference("balanced"), outcome.difference("KD, balanced", "balanced")
same_tail = outcome.difference("tail teacher, balanced", "balanced")
kd.say(
    f"On the rare classes: the balanced sampler brings {sampler}, KD {outcome.difference('KD')}, "
    "and KD on top of the sampler another "
    f"{both}. The teacher that knew only the long tail brings {same_tail} on top of the sampler: "
    f"**{same_tail.verdict}**. A sampler shows six pictures "
    "more often; a teacher that knows better says something about them in every other picture "
    "too."
)

# %% [markdown]
# ## When it does not help: a teacher that learnt the same noise
#
# Second half: 5,000 balanced pictures, four labels in ten wrong. The same teacher as above; and one that learnt from the very same
# wrong labels.
#
# **Predict**: which of the two helps?

# %%
noisy = replace(
    plain, train=lambda seed: kd.data.noisy_labels(data.train.sample(5000, seed), 0.4, seed)
)
corrected = replace(taught, train=noisy.train)


def noisy_teacher(seed):
    return kd.TeacherCache(
        replace(noisy, student=partial(kd.models.perceptron, (256,))).run(seed)
    )


noise = kd.compare(
    {
        "noisy labels": noisy,
        "KD, clean teacher": corrected,
        "KD, noisy teacher": replace(corrected, teacher=noisy_teacher),
    },
    data,
    seeds=5,
    ledger="11-label-noise",
)
noise.figure()

# %%
clean, fooled = noise.difference("KD, clean teacher"), noise.difference("KD, noisy teacher")
assert fooled.mean < clean.mean
kd.claim("A teacher that learnt from clean labels corrects wrong ones", clean)
kd.say(
    f"The clean teacher brings {clean}. The noisy one brings {fooled}: **{fooled.verdict}**. It "
    "has more room to remember wrong labels than the student "
    "has, and passes them on."
)

# %% [markdown]
# ## Recap
#
# - Overall accuracy hides rare classes; look at each class alone.
# - A balanced sampler repeats what is there. A teacher that knows more adds what is not.
# - A teacher from the same tail, or the same noise, has nothing to add, and can hurt.
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
    train=lambda seed: kd.data.long_tail(data.train, most, IMBALANCE, seed),
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
