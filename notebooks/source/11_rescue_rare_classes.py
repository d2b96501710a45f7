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
# Real data are seldom balanced and not always right: a few classes have most of the pictures, and some labels are wrong. When
# does a teacher help, and when does a remedy without any teacher help as much?
#
# **You will** make data with a *long tail* (many classes with few pictures), draw balanced mini-batches, adjust logits, and look
# at every class alone.
# **You will learn** what remedies without a teacher can do, and what a teacher must know to do more.
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
# **How do we get data in which some classes are rare?** We leave pictures out. The class of rank $r$, from $r = 0$ for the most
# frequent class to $C - 1$ for the rarest, keeps (Cui et al. 2019)
#
# $$n_r = n_0 \cdot \rho^{-r / (C - 1)}$$
#
# pictures, rounded. $n_0 = 600$ is the count of the most frequent class, $C$ the number of classes, and $\rho = 100$ the
# *imbalance*: the rarest class has a hundredth of $n_0$. From each rank to the next the count falls by the same factor. The test
# data stay balanced, so every class matters alike.
#
# Which classes are rare? If they were the same in every run, we could not tell a rare class from a difficult one. So every *seed*
# (the number that fixes what is random in a run) begins the tail two classes further on. Over five seeds each class is among the
# rarest at least once.

# %%
MOST, IMBALANCE, RARE = 600, 100, 3
counts = kd.data.tail_counts(classes, MOST, IMBALANCE)


def order(seed):
    """The classes of one run, from the most frequent to the rarest."""
    return torch.arange(classes).roll(2 * seed).tolist()


def tail(seed):
    return kd.data.long_tail(data.train, MOST, IMBALANCE, seed, order=order(seed))


rarest = {seed: [data.classes[label] for label in order(seed)[-RARE:]] for seed in range(5)}

# %%
assert len({name for names in rarest.values() for name in names}) == classes
kd.say(
    f"{sum(counts):,} pictures in all; the three rarest classes have "
    f"{', '.join(map(str, counts[-RARE:]))}. They are, seed by seed: "
    + "; ".join(kd.verbatim(", ".join(names)) for names in rarest.values())
    + "."
)

# %% [markdown]
# The figure shows the share $\pi_r = n_r / \sum_k n_k$ of each rank in the training pictures. Move the slider from balanced
# (imbalance 1) to extreme (300).

# %%
import ipywidgets as widgets


def shape(imbalance):
    share = torch.tensor(kd.data.tail_counts(classes, MOST, imbalance), dtype=torch.float64)
    return kd.plots.distribution(
        share / share.sum(),
        [f"rank {rank + 1}" for rank in range(classes)],
        title=f"share of the training pictures, {imbalance} to 1",
        names=("share", "rank of the class"),
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
# ## Draw balanced mini-batches
#
# **Can we show rare pictures more often?** This is the oldest remedy, a *balanced sampler*. It draws pictures with replacement,
# each with a chance that makes every class equally frequent. For picture $i$ of N, with label $y_i$ and $n_c$ pictures of class
# $c$:
#
# $$s_i = \frac{1 / n_{y_i}}{\sum_{j=1}^{N} 1 / n_{y_j}}$$
#
# $s$ has the shape (N,) and adds to 1. All pictures of one class together have the chance $1 / C$.

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

# %%
assert seen.min() > 0.8 * seen.max()
kd.say(f"Of 20,000 draws, each class gets between {seen.min():,} and {seen.max():,}.")

# %% [markdown]
# ## Look at the rare classes alone
#
# **How do we see whether a rare class is recognised?** Overall accuracy adds all classes up. This lab measures the accuracy of each
# class alone and takes the mean over a set $R$ of classes, here the three rarest of each seed:
#
# $$A_R = \frac{100}{|R|} \sum_{c \in R} \frac{r_c}{n_c}$$
#
# $n_c$ is the number of test pictures with label $c$. $r_c$ counts those of them that the network puts into class $c$, its largest
# logit. $|R|$ is the number of classes in $R$, and $A_R$ is in percent.

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
# **Can we correct the network after training, at no cost?** A network that is in doubt says what it saw most often. Let $\pi_c$
# be the share of class $c$ in the training pictures, and $P(x \mid c)$ how likely picture $x$ is among those of class $c$. By
# Bayes' rule the network learns
#
# $$P_{\mathrm{train}}(c \mid x) \propto P(x \mid c)\, \pi_c$$
#
# In balanced test data every class has the same share, so we want $P(x \mid c)$ alone: divide by $\pi_c$. In the logarithm this
# is a subtraction, the *logit adjustment* (Menon et al. 2021):
#
# $$\hat y = \mathrm{argmax}_c \left( z_c - \log \pi_c \right)$$
#
# - $z$ are the trained network's logits (outputs before the softmax), of shape (N, C) for N pictures and C classes; $z_c$ are
#   those of class $c$.
# - $\pi$, of shape (C,), is positive and adds to 1. The rarer a class, the more its logit is raised.
# - $\hat y$, of shape (N,), are the chosen classes.
#
# In the code below, `leaning` is $\log \pi$. Nothing is trained again.


# %%
def tail_student(seed, hidden=64):
    """A fresh student; it remembers which classes its run sees often, and which rarely."""
    net = kd.models.perceptron((hidden,), **data.sizes, seed=seed)
    net.order = order(seed)
    return net


class Adjusted(nn.Module):
    """A trained student; the log share of each class is subtracted from its logits."""

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
# All students see the same pictures. These *arms*, the recipes that are compared, have no teacher:
#
# - *plain*: cross-entropy with the labels; *balanced*: the same with the balanced sampler; *adjusted*: the plain student with
#   adjusted logits;
# - *label smoothing*: the target of each picture keeps 0.9 for its label, and all classes share 0.1 equally. It is the cheapest
#   *rival* of soft targets, a simpler thing that could explain the same gain.
#
# And these have one. Their loss is the mixture of lab 03, with $T = 2$ and $\alpha = 0.9$:
#
# $$L = \alpha\, T^2\, \mathrm{KL}\left(p^{T} \,\|\, q^{T}\right) + (1 - \alpha)\, \mathrm{CE}(q, y)$$
#
# - $p^{T}$ and $q^{T}$ are the softened probabilities of teacher and student, $\mathrm{softmax}(\text{logits} / T)$, of shape (N,
#   C). $q$ is $q^{T}$ at $T = 1$, and $y$ are the labels, (N,).
# - *KD* and *KD, balanced*: the teacher has learnt from the whole, balanced data. *Tail teacher, balanced*: it has seen only the
#   same long tail, drawn evenly.
#
# **Predict**: on the rare classes, does a teacher of the whole data help more than adjusted logits, which cost nothing? And what
# do adjusted logits do to the frequent classes?

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


# %% [markdown]
# The next cell trains all arms with five seeds and keeps their scores in a *ledger*, a file. The figure then shows on the left
# the scores of each seed, and on the right each arm's *paired* difference from the plain student, taken seed by seed. Its
# *verdict* is *helps* where the 95 % interval of the mean lies above zero, *hurts* where it lies below, and *no clear difference*
# otherwise.


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
# The arms differ in more than the remedy. This table lists what else differs, the arithmetic of training (multiply-adds, with the
# teacher's answers) and the temperature:

# %%
kd.say(
    f"The teacher of *KD* learnt from {len(data.train):,} labelled pictures, a tail has "
    f"{len(tail(0)):,}. What the teachers' own training took is not in the table below."
)
rare.differs()

# %% [markdown]
# ### What does overall accuracy hide?
#
# The plain student, one row for each seed: which classes are the rarest, its accuracy on them, and its overall accuracy.

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
# In the first row the tail follows the order in which the data number their classes. An earlier version of this lab used this
# order in all five runs, only with other pictures, and so could not tell how difficult a class is from how rare it is.
#
# ### Who gains, and who pays?
#
# The table has one row for each arm: its accuracy on three groups of classes, and in brackets the paired difference from *plain*
# with its interval. Compare the first column with the second. The figure after it shows four arms at each rank, from frequent to
# rare.

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
kd.claim("KD lifts the rare classes over the plain student", rare.difference("KD"))
kd.say(
    "On the rare classes, without a teacher:\n\n"
    + rare.told("balanced", "plain")
    + rare.told("adjusted", "plain")
    + rare.told("adjusted", "balanced")
    + rare.told("label smoothing", "plain")
    + "\nWith one:\n\n"
    + rare.told("KD", "adjusted")
    + rare.told("KD, balanced", "KD")
    + rare.told("KD, balanced", "balanced")
    + rare.told("tail teacher, balanced", "balanced")
    + "\nOver all classes:\n\n"
    + overall.told("KD", "adjusted")
    + "\nOn the frequent classes:\n\n"
    + frequent.told("adjusted", "plain")
    + frequent.told("KD", "plain")
    + frequent.told("KD", "adjusted")
)

# %% [markdown]
# One way to read this: the plain student is good at frequent classes partly because it chooses them too often. Whatever corrects
# this may cost something on those classes. The sampler shows the same six pictures again and again, and six pictures can be
# learnt by heart; adjusted logits need no repetition. A teacher of the whole data knows more of the rare classes than the tail
# can tell. But it has seen more labelled pictures, and its student still learns from the tail's labels too. So a teacher has to
# beat the rival that costs nothing, and not the plain student. The row of label smoothing says whether softer targets alone would
# do.
#
# ## When it does not help: a teacher that learnt the same noise
#
# **What if the labels are wrong, for the teacher too?** In this second half there are 5,000 balanced pictures, and four labels in
# ten are replaced by another class at random. All losses are those from above; only the labels $y$ and the teachers differ:
#
# - *clean teacher*: the teacher from above, which has learnt from right labels;
# - *noisy teacher*: a wider network that has learnt from the very same wrong labels to the end; *stopped early*: the same, but
#   stopped before the end; *of its size*: one as small as the student, to the end.
#
# The rivals have no teacher: label smoothing, and a student that stops early itself.
#
# When to stop? Training is looked at every 50 steps, on 1,000 further pictures with as many wrong labels: no clean label is used.
# It ends after three looks in a row without a better accuracy, and the best network is kept.
#
# The figure and the table hold each arm against *noisy labels*, the student with no remedy. *Holm* is the verdict that is left
# when the number of comparisons is allowed for.
#
# **Predict**: how many of the three teachers that learnt from wrong labels still help?

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
    """The same training, checked every 50 steps; it ends after three checks in a row without a better one."""

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
corrected = noise.table()["Holm"]
clear = [arm for arm in corrected.index if corrected[arm] in ("helps", "hurts")]
kd.say(
    "Four teachers:\n\n"
    + noise.told("KD, clean teacher", "noisy labels")
    + noise.told("KD, noisy teacher", "noisy labels")
    + noise.told("KD, noisy teacher stopped early", "noisy labels")
    + noise.told("KD, noisy teacher of its size", "noisy labels")
    + f"\nStill clear after Holm's correction: {', '.join(clear) or 'none'}.\n"
    + "\nTheir rivals without a teacher:\n\n"
    + noise.told("label smoothing", "noisy labels")
    + noise.told("stopped early", "noisy labels")
    + noise.told("KD, noisy teacher stopped early", "stopped early")
)

# %% [markdown]
# **Why should it matter when a teacher stops?** A common guess: a network first learns what many pictures have in common, and
# only later single wrong labels, by heart. So we count how many of the wrong labels each of the three teachers gives back, in
# percent, on the pictures that it learnt from:


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
by_heart.mean().round(1).to_frame("wrong labels given back, %")

# %%
less = kd.difference(by_heart["stopped"] - by_heart["to the end"])
assert less.high < 0
kd.say(
    f"The teacher that stopped early repeats fewer of the wrong labels than the one trained to the "
    f"end: {less}. But it also misses the last steps, in which the learning rate is small and training "
    "settles. Which of the two weighs more depends on the data: see the verdicts above. Only the last "
    "of them says whether this teacher adds anything to a student that stops early itself."
)

# %% [markdown]
# ## Recap
#
# - Overall accuracy hides rare classes; look at each class alone, and let rarity change places.
# - Try first what costs nothing: adjusted logits against a long tail, an early stop against wrong labels. Measure those too: an
#   early stop need not help.
# - A teacher has to beat what costs nothing. Distillation hands on what a teacher knows: one that learnt from the same tail or
#   the same wrong labels may have nothing to add, so measure it.
# - A soft target gives every class a number on every picture. So pictures of other classes tell a student something of a rare
#   class too.
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
# - Noise of 20 % and 60 %, and alpha from 0.5 to 1: when should a student no longer learn from the labels?
#
# **At full size** (a GPU): a tail of the same shape, cut from all pictures, with the imbalance of CIFAR-100-LT (Cui et al. 2019).
# CIFAR-100-LT itself is `kd.data.long_tail(kd.load_images("cifar100").train, 500, 100)`.

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
# - Menon et al. (2021), *Long-Tail Learning via Logit Adjustment*.
# - Kang et al. (2020), *Decoupling Representation and Classifier for Long-Tailed Recognition*.
# - Li et al. (2017), *Learning from Noisy Labels with Distillation*.
