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
# Four hospitals have 2,000 labelled pictures each and may show them to nobody. What each may hand out is a network. Asked together,
# the four know more than each alone. Running them all is costly; distilled into one student, much of what they gain can be had at the
# price of one.
#
# **You will** build committees, hold them against the controls that they need, look at who is too sure, and mix teachers by hand.
# **You will learn** when a committee is worth its cost, how a wrong teacher is outvoted, and how much of the gain one student keeps.
# **You need** lab 03. **Time:** 50 minutes of yours; the machine needs about a minute and a half in all.

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
# 25,000 of the training pictures are private: each time, 8,000 of them are drawn and dealt out to the four, so that no two hold the same
# picture. The other 30,000 are public, and nobody has labelled them. A member is a perceptron with 64 hidden units. Three ways to get
# four of them: the pictures of one hospital with other first weights; each hospital's own pictures; other architectures.
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
# The first two are trained five times, beside two controls that are looked at further down: one network on the pooled pictures of all
# four, trained as long as one member, and as long as four.

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
# Two means are in use. The mean of probabilities asks everybody and bounds what each can say; the mean of logits is the geometric
# mean of the probabilities, and lets one very sure member shout.

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
# ## Hold it against its controls
#
# Does the committee gain because its members err differently, or because the four have seen four times as many labels? Two controls
# tell. *Other weights*: four networks again, all with the 2,000 labels of one hospital. *Pooled*: one network with all 8,000 labels, as if
# the pictures might leave the hospitals; trained as long as one member, and as long as four.
#
# **Predict**: is the committee of four hospitals better than one network on their pooled pictures?

# %%
against_pool = kd.predict(
    "06.against-pool",
    "Four hospitals' networks together, against one network on the pooled pictures:",
    options=["helps", "hurts", "no clear difference"],
)
against_pool

# %%
worth.table()

# %%
pool = worth.best(among=["pooled", "pooled, 4 × the steps"])
beside_pool = worth.difference("own pictures", pool)
against_pool.answer(beside_pool.verdict, on=worth.figure())

# %% [markdown]
# What else differs? Count the labels, and the arithmetic of training.

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
# A model that says 90 % should be right nine times in ten. Bars below the dashed line are too sure of themselves.

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
# A committee for each seed, those of above. The student has one member's architecture and budget, and learns from soft targets on the
# 30,000 public pictures, without labels. Is it the committee, or only the pictures? So one student asks a single member about the
# very same pictures. And the network on the pooled labels is there again.

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
# (The members' own training is not counted there; it is in the table above. The labels that a teacher has seen come to its student only
# through answers. And the students have 30,000 pictures more to look at than *pooled*: where one of them beats it, part of that may be
# theirs.)

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
    f"**{share:.0%}** of it. Against the network on the pooled labels it stands at "
    f"{outcome.difference('ensemble', 'pooled')}: "
    f"{outcome.difference('ensemble', 'pooled').verdict}. The two means differ by "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble')}: "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble').verdict}."
)

# %% [markdown]
# ## Is a committee calibrated?
#
# It is often said so: members that differ moderate each other. The cheapest rival is a single member and a single number. *Temperature
# scaling* divides its logits by the temperature that fits the validation labels best (Guo et al. 2017); no decision changes.
#
# A committee's confidence depends on the temperature of its mean. At T = 1 it is the plain mean of the probabilities. The student's
# targets are softened at T = 2; read at 1 they are surer than the plain mean.
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
# A fifth member has learnt every class under the next class's name. Alone it is right almost never, and it is sure.
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
# Then mix by hand: each slider is one teacher's weight. The browser mixes 500 validation pictures at once; those that the four good
# members dispute come first. Which mean bears the wrong teacher longer?

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
assert kd.measure.accuracy(wrong, data.test) < 20 and spoilt["probabilities"] > good - 10
kd.say(
    f"Four good members: {good:.1f} %. With the fifth, equal weights: "
    f"**{spoilt['probabilities']:.1f} %** by the mean of "
    f"probabilities, **{spoilt['logits']:.1f} %** by the mean of logits. Four votes bear one "
    "wrong one; a majority of wrong "
    "teachers they would not, and a student cannot tell."
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
# - Averages bear a wrong teacher as long as it is alone. Look at members before you average them.
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
# **At full size** (a GPU): the same committees and more patient students, of one member's size as in Hinton et al. (2015, §4). Larger
# still: five members `kd.models.convnet()` on all pictures, and a student of the same kind.

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
