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
# # Learn from an ensemble
#
# Four hospitals have 2,000 labelled pictures each, and may show them to nobody. What each may hand out is a trained network. Asked
# together, the four networks know more than each alone. Several networks whose answers are averaged are an *ensemble*, or a committee;
# each of them is a *member*. Running all of them costs four times as much as running one. So one student is distilled from the
# committee: it keeps much of the gain at the price of one network.
#
# **You will** build committees, compare them with the controls that they need, look at who is too sure, and mix teachers by hand.
# **You will learn** when a committee is worth its cost, how a wrong teacher is outvoted, and how much of the gain one student keeps.
# **You need** lab 03. **Time:** 55 minutes of yours; the machine needs about a minute and a half in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch.nn import functional as F

data = kd.load_images()

# %% [markdown]
# ## Train members that differ
#
# 25,000 of the training pictures are private. For each seed (the number that fixes what is random in a run), 8,000 of them are drawn and
# dealt out to the four hospitals, so that no two hold the same picture. The other 30,000 are public, and nobody has labelled them. A
# member is a perceptron with 64 hidden units, the numbers that it computes between its input and its logits.
#
# A committee only helps if its members do not all make the same mistakes. There are three ways to get four members that differ: the
# pictures of one hospital with other first weights; each hospital's own pictures; or other architectures on the pictures of one hospital.
#
# We measure how much they differ by their *disagreement*: the share of pictures on which two members decide differently. The *logits* of
# member $m$, its numbers before the softmax, are $z^m$, of shape $(N, C)$ for $N$ pictures and $C$ classes. It decides for the class with
# the largest of them:
#
# $$\hat y^m_n = \mathrm{argmax}_c z^m_{nc}$$
#
# $$D_{ab} = \frac{1}{N} \sum_n [\, \hat y^a_n \neq \hat y^b_n \,]$$
#
# where $\hat y^m_n$ is the decision of member $m$ on picture $n$, and $[\cdot]$ is 1 if what stands in it is true, and 0 otherwise. For $M$
# members $D$ has shape $(M, M)$, and its diagonal is 0.
#
# **Predict**: which four will disagree most?

# %%
most_apart = kd.predict(
    "06.most-apart",
    "Which four disagree most, on average over their pairs?",
    options=["other weights", "own pictures", "other architectures"],
)
most_apart

# %%
private = data.train.take(torch.arange(25_000))
public = data.train.take(torch.arange(25_000, len(data.train))).unlabelled()


def pooled(seed):
    """The labelled pictures of all four. (A committee's members have seeds 1,000 apart.)"""
    return private.sample(8000, seed % 1000)


def held_by(number):
    """Those of one hospital, 0 to 3: every fourth."""
    return lambda seed: pooled(seed).take(torch.arange(number, 8000, 4))


member = kd.Recipe(partial(kd.models.perceptron, (64,), **data.sizes), held_by(0), steps=450)
committees = {
    "other weights": kd.schemes.Committee([member] * 4, temperature=2),
    "own pictures": kd.schemes.Committee(
        [replace(member, train=held_by(number)) for number in range(4)], temperature=2
    ),
    "other architectures": kd.schemes.Committee(
        [
            replace(member, student=partial(kd.models.perceptron, hidden, **data.sizes))
            for hidden in ((64,), (32,), (64, 64), (128,))
        ],
        temperature=2,
    ),
}

# %% [markdown]
# The first two committees are trained with five seeds, beside two *controls*, networks that differ in one thing only: one network on the
# pooled pictures of all four hospitals, trained as long as one member, and one trained as long as four. We look at the controls further
# down.

# %%
in_one_place = replace(member, train=pooled)
worth = kd.compare(
    {
        "one member": member,
        "other weights": committees["other weights"],
        "own pictures": committees["own pictures"],
        "pooled": in_one_place,
        "pooled, 4 × the steps": replace(in_one_place, steps=4 * member.steps),
    },
    data,
    equal_budgets=False,
    ledger="06-committee",
)

# %%
ensembles = {
    "other weights": worth.students["other weights"][0],
    "own pictures": worth.students["own pictures"][0],
    "other architectures": committees["other architectures"].run(seed=0),
}

# %%
answers = {
    name: torch.stack([kd.measure.predict(one, data.test) for one in ensemble.members])
    for name, ensemble in ensembles.items()
}  # name -> (4, 10,000, 10)

# %% [markdown]
# For each committee we now have the logits of its four members on all test pictures. Write the disagreement. The figure below shows it for
# all three committees, in percent: a row and a column for each member, named by its layers' sizes. Look at the cells off the diagonal.

# %%
kd.exercise("06.disagreement")


# %% tags=["exercise"] exercise="06.disagreement"
def disagreement(logits):
    """Logits of M teachers (M, N, C) -> shares (M, M)."""
    ...  # your code


# %%
disagreement = kd.exercise("06.disagreement").check(disagreement)

# %%
labels_of = {
    name: [one.label.removeprefix("perceptron ") for one in ensemble.members]
    for name, ensemble in ensembles.items()
}
shares = {name: disagreement(z) for name, z in answers.items()}
most_apart.answer(
    max(shares, key=lambda name: float(shares[name].sum())),
    on=kd.plots.disagreement(shares, labels_of),
)

# %% [markdown]
# ## Average them
#
# How do four answers become one? Two means are in use. Each is softened by a temperature $T$, as in lab 02:
#
# $$\bar p_{nc} = \frac{1}{M} \sum_{m=1}^{M} \mathrm{softmax}(z^m_n / T)_c$$
#
# or
#
# $$\bar p_n = \mathrm{softmax}\left(\frac{1}{M} \sum_{m=1}^{M} z^m_n / T\right)$$
#
# $\bar p$, of shape $(N, C)$, holds the committee's probabilities for picture $n$ and class $c$; each row adds to 1. The first is the *mean
# of probabilities*. Each member has a share of $1/M$ and no more, however sure it is. The second is the *mean of logits*. It is the
# geometric mean of the members' probabilities, scaled to add to 1. A logit has no bound, so one very sure member can outweigh the others.

# %%
kd.exercise("06.ensemble_target")


# %% tags=["exercise"] exercise="06.ensemble_target"
def ensemble_target(logits, temperature):
    """Logits of M teachers (M, N, C) -> probabilities (N, C)."""
    ...  # your code


# %%
ensemble_target = kd.exercise("06.ensemble_target").check(ensemble_target)

# %%
z = answers["own pictures"]
torch.testing.assert_close(
    ensemble_target(z, 2.0), kd.losses.ensemble_target(list(z), temperature=2.0)
)

# %% [markdown]
# ## Compare it with its controls
#
# Is the committee better because its members make different mistakes, or because the four have seen four times as many labels? Two
# controls can tell. *Other weights*: four networks again, all with the 2,000 labels of one hospital. *Pooled*: one network with all 8,000
# labels, as if the pictures might leave the hospitals; trained as long as one member, or as long as four.
#
# **Predict**: is the committee of four hospitals better than one network on their pooled pictures?

# %%
against_pool = kd.predict(
    "06.against-pool",
    "Four hospitals' networks together, against one network on the pooled pictures:",
    options=["helps", "hurts", "no clear difference"],
)
against_pool

# %% [markdown]
# The table has a row for each *arm*, as what is compared is called. *Arithmetic* counts the multiply-adds of its training, as a
# multiple of the first row's. *Mean* is over five seeds, and *±* is half the width of the mean's 95 % interval. The *difference*
# to one member is *paired*, taken seed by seed, with its 95 % interval in brackets. The *verdict* says whether the interval lies
# above zero (helps), below it (hurts), or holds it (no clear difference); *Holm* is the verdict once it is allowed for that
# several arms are compared.

# %%
worth.table()

# %% [markdown]
# Of the two pooled networks, the one that is better on validation data, which neither train nor judge, now meets the committee. The
# figure shows each seed's accuracy, and on its right the paired differences.

# %%
pool = worth.best(among=["pooled", "pooled, 4 × the steps"])
beside_pool = worth.difference("own pictures", pool)
against_pool.answer(beside_pool.verdict, on=worth.figure())

# %% [markdown]
# What else differs between the arms? The next table counts the different pictures that each has looked at, the labels, the steps of
# training, and the multiply-adds, the arithmetic that training took.

# %%
worth.differs()

# %%
kd.claim(
    "Four hospitals' networks together know more than one", worth.difference("own pictures")
)
kd.claim(
    "Other pictures bring more than other first weights",
    worth.more_than("own pictures", "other weights"),
)
advice = {
    "hurts": "Where pictures may be pooled, pool them: one network is better, and four times cheaper to run.",
    "helps": "Here the committee is better even than pooling, at four times the cost of an answer. (Its next rival would be a pooled network four times as large.)",
    "no clear difference": "Pooling is as good, and four times cheaper to run.",
}
kd.say(
    f"The four together gain {worth.difference('own pictures')} over one. Four networks on one "
    f"hospital's labels gain {worth.difference('other weights')}; the other pictures bring "
    f"{worth.more_than('own pictures', 'other weights')} beyond that. And one network on the pooled labels gains "
    f"{worth.difference(pool)} without any averaging (*{pool}*, chosen on validation data). The "
    f"committee against it: {beside_pool}. "
    f"{advice[beside_pool.verdict]} The committee is for pictures that cannot be pooled: "
    "only the networks travel."
)

# %% [markdown]
# ## Ask who is too sure
#
# A network's *confidence* in a picture is the largest of its probabilities. If it says 90 %, it should be right nine times in
# ten: then it is *calibrated*. The *expected calibration error* measures how far it is from that. Put the pictures into ten bins
# of equal width by their confidence: those up to 0.1, those above 0.1 and up to 0.2, and so on. In each bin compare how often the
# network was right with how sure it was:
#
# $$\mathrm{ECE} = \sum_{k=1}^{10} \frac{|B_k|}{N} \, \left| \, \mathrm{acc}(B_k) - \mathrm{conf}(B_k) \, \right|$$
#
# $B_k$ is the set of pictures in bin $k$ and $|B_k|$ their number, of $N$ in all. $\mathrm{acc}(B_k)$ is the share of them that the network
# gets right, and $\mathrm{conf}(B_k)$ their mean confidence. Empty bins count nothing. The error is a share between 0 and 1; times 100 it
# is in points (Guo et al. 2017).

# %%
kd.exercise("06.calibration_error")


# %% tags=["exercise"] exercise="06.calibration_error"
def calibration_error(logits, labels):
    """Logits (N, C), labels (N,) -> expected calibration error over ten bins, a share."""
    ...  # your code


# %%
calibration_error = kd.exercise("06.calibration_error").check(calibration_error)

# %% [markdown]
# ## Distil the committee
#
# We take the committees *own pictures* from above, one for each seed, and train one student under each. The student has one
# member's architecture, and its *budget* (the number of pictures that its steps see). It learns from the committee's soft
# targets, probabilities in place of labels, on the 30,000 public pictures:
#
# $$L = T^2 \cdot \frac{1}{N} \sum_n \mathrm{KL}\left(\bar p_n \,\|\, \mathrm{softmax}(z^{\text{student}}_n / T)\right)$$
#
# $\bar p_n$ is the committee's mean for picture $n$ at the temperature $T = 2$, $z^{\text{student}}$ are the student's logits, of shape $(N, C)$ for
# a batch of $N$ pictures, and $\mathrm{KL}(p \,\|\, q) = \sum_c p_c \log (p_c / q_c)$. It is the soft loss of lab 03 with a mean in the
# teacher's place.
#
# Is a gain the committee's, or does it come from the 30,000 pictures? To tell, one student asks a single member about the very same pictures.
# And the network on the pooled labels is there again. The table and the figure read as above; the baseline is a member that learnt from labels.

# %%
trained = worth.students["own pictures"]
asked = replace(member, train=public, method=kd.SoftTarget(temperature=2))


def geometric(seed):
    return kd.schemes.Ensemble(trained[seed].members, temperature=2, mean="logits")


arms = {
    "labels only": member,
    "one teacher": replace(
        asked, teacher=lambda seed: kd.TeacherCache(trained[seed].members[0])
    ),
    "ensemble": replace(asked, teacher=lambda seed: kd.TeacherCache(trained[seed])),
    "ensemble, mean of logits": replace(
        asked, teacher=lambda seed: kd.TeacherCache(geometric(seed))
    ),
    "pooled": in_one_place,
}
outcome = kd.compare(arms, data, ledger="06-ensemble")
outcome.table()

# %%
outcome.figure()

# %%
outcome.differs()

# %% [markdown]
# (The members' own training is not counted there; it is in the table further up. A student gets the labels that its teacher has seen only
# through the teacher's answers. And the students have 30,000 pictures more to look at than *pooled*: where one of them beats it, part of
# that may come from those pictures.)

# %% [markdown]
# How much of the committee's gain does the student keep? We divide the student's mean gain over one member by the committee's. (A share of
# two noisy means is noisy itself: trust the differences and their intervals first.)

# %%
gain = worth.difference("own pictures")
kept = outcome.difference("ensemble")

kd.claim("The student of the ensemble beats a member that learnt from labels", kept)
kd.claim(
    "It beats the student of a single member", outcome.difference("ensemble", "one teacher")
)
share = kept.mean / gain.mean
assert share > 0.4, f"the student keeps {share:.0%}"
kd.say(
    f"Four members gain {gain} over one. One student, at one member's cost, keeps {kept}: "
    f"**{share:.0%}** of it. Held against the network on the pooled labels, the student is at "
    f"{outcome.difference('ensemble', 'pooled')} ({outcome.difference('ensemble', 'pooled').verdict}). "
    "The mean of logits against the mean of probabilities, as the student's target: "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble')}, "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble').verdict}."
)

# %% [markdown]
# ## Is a committee calibrated?
#
# It is often said that a committee is calibrated, because members that differ make each other less sure. The cheapest *rival*,
# what could do as well at less cost, is a single member and a single number. *Temperature scaling* (Guo et al. 2017) divides a
# network's logits by one temperature $t$, the one that fits the validation labels best:
#
# $$t^\ast = \mathrm{argmin}_t \; -\frac{1}{N} \sum_n \log \mathrm{softmax}(z_n / t)_{y_n}$$
#
# with the logits $z$, of shape $(N, C)$, and the labels $y_n$ of the $N$ validation pictures. No decision changes, because the largest logit
# stays the largest.
#
# A committee's confidence depends on the temperature of its mean. At $T = 1$ it is the plain mean of the probabilities. For the student's
# targets the mean was taken at $T = 2$. For logits such a committee gives $T \log \bar p_{nc}$: softened at $T$ they are $\bar p$ again. Read
# at 1, they are probabilities in proportion to $\bar p_{nc}^{\,2}$, which are surer.
#
# **Predict**: is the plain mean, at T = 1, better calibrated than one member?

# %%
plain_error = kd.predict(
    "06.plain-mean",
    "The calibration error of the committee at T = 1, against that of one member:",
    options=["smaller", "larger", "no clear difference"],
)
plain_error

# %%
plain_mean = [kd.schemes.Ensemble(one.members, temperature=1) for one in trained]
models = {
    "one member": [one.members[0] for one in trained],
    "committee, T = 1": plain_mean,
    "committee, T = 2": trained,
    "student": outcome.students["ensemble"],
    "pooled": worth.students["pooled"],
}


def errors(model):
    """Of one model: its calibration error in points, over ten equal bins, as it is and after scaling."""
    logits = kd.measure.predict(model, data.test)
    best = kd.measure.temperature_scaling(model, data.validation)
    return [100 * float(calibration_error(logits / t, data.test.labels)) for t in (1, best)]


measured = {name: [errors(one) for one in five] for name, five in models.items()}
as_is, scaled = (
    {name: [pair[turn] for pair in pairs] for name, pairs in measured.items()}
    for turn in (0, 1)
)


# %% [markdown]
# The table shows the mean error of five seeds with its 95 % interval: of each model as it is, and after its logits were scaled. *Student* is
# the one that was taught by the committee.


# %%
def with_interval(values):
    spread = kd.difference(values)
    return f"{spread.mean:.1f} ± {spread.high - spread.mean:.1f}"


pd.DataFrame(
    {
        title: {name: with_interval(values) for name, values in table.items()}
        for title, table in (("as it is", as_is), ("temperature scaled", scaled))
    }
).rename_axis("calibration error, points")


# %% [markdown]
# The *reliability diagrams* of the first seed show where the errors come from: one bar for each bin of confidence, as high as the share that
# is right. A bar below the dashed line means: too sure.


# %%
def apart(ours, theirs):
    return kd.difference([a - b for a, b in zip(ours, theirs, strict=True)])


word = {"helps": "larger", "hurts": "smaller", "no clear difference": "no clear difference"}
by_mean = apart(as_is["committee, T = 1"], as_is["one member"])
first = {name: five[0] for name, five in models.items()}
panels = kd.plots.reliability(
    {name: kd.measure.reliability(one, data.test, bins=10) for name, one in first.items()},
    {name: values[0] for name, values in as_is.items()},
)
plain_error.answer(word[by_mean.verdict], on=panels)

# %%
by_target = apart(as_is["committee, T = 2"], as_is["committee, T = 1"])
by_number = apart(as_is["committee, T = 1"], scaled["one member"])
kd.say(
    f"Over five committees: the plain mean's error against one member's {by_mean} ({word[by_mean.verdict]}); "
    f"read at T = 2 against T = 1 {by_target} ({word[by_target.verdict]}). And the plain mean against one "
    f"scaled member: {by_number} ({word[by_number.verdict]}). Averaging makes answers less sure by as much as "
    "the members differ, which need not be as much as they were too sure. A single number, fitted on labelled "
    "validation pictures, aims at just that."
)

# %% [markdown]
# ## When it does not help: a teacher that is wrong on purpose
#
# A fifth member has learnt every class under the next class's name. Alone it is almost never right, and it is sure. In the mean of the
# probabilities it has one share of five.
#
# **Predict**: how often is the average right, if the fifth has the same weight as each of the four?

# %%
of_five = kd.predict(
    "06.of-five",
    "How many test pictures do the five get right, by the mean of probabilities?",
    between=(0, 100),
    unit="%",
)
of_five

# %% [markdown]
# Then mix by hand. Each slider is one teacher's weight $w_m$, and the means become
#
# $$\bar p_n = \sum_m v_m \, \mathrm{softmax}(z^m_n / T)$$
#
# or
#
# $$\bar p_n = \mathrm{softmax}\left(\sum_m v_m z^m_n / T\right)$$
#
# $$v_m = \frac{w_m}{\sum_j w_j}$$
#
# where $v_m$, the shares, add to 1. With equal weights these are the two means from above. The browser mixes 500 validation
# pictures at once. The pictures to choose from are sorted: those on which the four good members disagree most come first. Raise
# the wrong teacher's weight: which mean stays right longer?

# %%
draw = data.train.sample(2000, seed=99)
renamed = replace(member, train=replace(draw, labels=(draw.labels + 1) % len(data.classes)))
wrong = renamed.run(seed=99)
five = [*trained[0].members, wrong]

some = data.validation.sample(500, seed=0)
decisions = torch.stack([kd.measure.predict(one, some).argmax(dim=1) for one in five[:4]])
some = some.take((decisions != decisions[0]).sum(dim=0).argsort(descending=True))

# %%
mixer = kd.widgets.ensemble_mixer(
    torch.stack([kd.measure.predict(one, some) for one in five]),
    some.labels,
    data.classes,
    data.pictures(some.images[:24]),
    names=["first", "second", "third", "fourth", "wrong"],
    temperature=2,
)
mixer

# %% tags=["widget-test"]
with mixer.restored():
    for number in range(1, 6):
        for weight in (0, 2, 4, 1):
            mixer.move(**{f"weight_{number}": weight})
    for mean, picture in (("logits", 0), ("probabilities", 12), ("logits", 23)):
        mixer.move(mean=mean, picture=picture, weight_5=4)
        assert mixer.description.startswith(f"Mean of {mean}, first 13 %")
        assert "wrong 50 %:" in mixer.description
        assert f"Picture {picture + 1}, " in mixer.description

# %%
z = torch.stack([kd.measure.predict(one, data.test) for one in five])  # (5, 10,000, 10)


def right(target):
    return 100 * (target.argmax(dim=1) == data.test.labels).float().mean().item()


good = right(ensemble_target(z[:4], 2.0))
spoilt = {"probabilities": right(ensemble_target(z, 2.0)), "logits": right(z.mean(dim=0))}

# %%
assert kd.measure.accuracy(wrong, data.test) < 20 and spoilt["probabilities"] > good - 10
kd.say(
    f"Four good members: {good:.1f} %. With the fifth, equal weights: "
    f"**{spoilt['probabilities']:.1f} %** by the mean of "
    f"probabilities, **{spoilt['logits']:.1f} %** by the mean of logits. Four right voices outvote "
    "one wrong one. A majority of wrong teachers would win, and a student could not tell."
)
of_five.answer(spoilt["probabilities"])

# %% [markdown]
# ## Recap
#
# - Other pictures do more for a committee than other first weights. But other pictures are other labels: one network that has them all
#   gains, too. A committee is for labels that cannot be pooled.
# - A mean of answers is less sure than they are. Whether that is calibration must be measured, beside one scaled member.
# - The mean of probabilities bounds what a member can say; the mean of logits does not.
# - One student, taught by the committee on pictures without labels, keeps much of the gain at one member's cost.
# - An average withstands a wrong teacher as long as that teacher is alone. Look at the members before you average them.
#
# ### Check yourself

# %%
quiz = kd.quiz("06")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Committees of two, eight and sixteen: where does the gain level off, and what does the student keep?
# - One network with 256 hidden units on the pooled labels costs as much as the committee, in training and in use. Which is better?
# - Give the wrong teacher two companions. When does the average break, and do the two means break alike?
# - Weight each member by its validation accuracy: `kd.schemes.Ensemble(..., weights=...)`.
# - Hospitals see different patients: give each one mostly classes of its own (`split.only(...)`). Does the committee still gain?
#
# **At full size** (a GPU): the same committees and students that train longer, of one member's size as in Hinton et al. (2015,
# §4). Larger still: five members `kd.models.convnet()` on all pictures, and a student of the same kind.

# %%
full = kd.at_full_size(
    {name: arms[name] for name in ("labels only", "one teacher", "ensemble")},
    data,
    seeds=5,
    steps=2400,
    batch_size=512,
)

# %% [markdown]
# ### Read further
#
# - Hinton, Vinyals, Dean (2015), §4–5: ten speech models in one, and specialists for many classes.
# - Lakshminarayanan, Pritzel, Blundell (2017), *Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*.
# - Guo, Pleiss, Sun, Weinberger (2017), *On Calibration of Modern Neural Networks*.
