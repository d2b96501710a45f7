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
# Several teachers that err on different pictures know more together than each alone. Running them all is costly; distilled into
# one student, most of what they gain can be had at the price of one.
#
# **You will** build committees, average them in two ways, look at who is too sure, and mix teachers by hand.
# **You will learn** why members must differ, how a wrong teacher is outvoted, and how much of the gain one student keeps.
# **You need** lab 03. **Time:** 50 minutes of yours; the machine needs about a minute and a quarter in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

data = kd.load_images()

# %% [markdown]
# ## Train members that differ
#
# A member is a perceptron with 64 hidden units that learnt from 2,000 labelled pictures. Three ways to get four of them: the same
# pictures with other first weights; other pictures; other architectures. For each we train one committee.
#
# **Predict**: which four will disagree most, and which will gain most from an average?

# %%
member = kd.Recipe(
    partial(kd.models.perceptron, (64,)), lambda seed: data.train.sample(2000, seed), steps=600
)
one_draw = replace(member, train=data.train.sample(2000, seed=0))
committees = {
    "other weights": kd.schemes.Committee([one_draw] * 4, temperature=2),
    "other pictures": kd.schemes.Committee([member] * 4, temperature=2),
    "other architectures": kd.schemes.Committee(
        [
            replace(one_draw, student=partial(kd.models.perceptron, hidden))
            for hidden in ((64,), (32,), (64, 64), (128,))
        ],
        temperature=2,
    ),
}
ensembles = {name: committee.run(seed=0) for name, committee in committees.items()}

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
kd.plots.disagreement({name: disagreement(z) for name, z in answers.items()}, labels_of)

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
z = answers["other pictures"]
torch.testing.assert_close(
    ensemble_target(z, 2.0), kd.losses.ensemble_target(list(z), temperature=2.0)
)

gains = {}
for name, z in answers.items():
    single = sum(kd.measure.accuracy(one, data.test) for one in z) / len(z)
    together = kd.measure.accuracy(ensemble_target(z, 2.0), data.test)
    gains[name] = together - single
gained = ", ".join(f"{name} **{gain:+.1f}** points" for name, gain in gains.items())
most = max(gains, key=gains.get)
kd.say(
    f"What the average gains over a single member: {gained}. Members with {most} gain most: they "
    "correct each other where they "
    "err differently."
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
# A new committee for each seed, four members on 2,000 pictures of their own. The student has one member's architecture and budget,
# and learns from soft targets on all 55,000 training pictures, without labels. Is it the committee, or only the pictures? So one
# student asks a single member about the very same pictures.

# %%
seeds = range(5)
committee = committees["other pictures"]
trained = {seed: committee.run(seed) for seed in seeds}

asked = replace(member, train=data.train.unlabelled(), method=kd.SoftTarget(temperature=2))


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
}
outcome = kd.compare(arms, data, seeds=seeds, ledger="06-ensemble")
outcome.table()

# %%
outcome.figure()

# %%
single = [
    sum(kd.measure.accuracy(one, data.test) for one in trained[seed].members) / 4
    for seed in seeds
]
together = [kd.measure.accuracy(trained[seed], data.test) for seed in seeds]
gain = kd.difference([t - s for t, s in zip(together, single, strict=True)])
kept = kd.difference([d - s for d, s in zip(outcome.scores["ensemble"], single, strict=True)])
share = kept.mean / gain.mean

kd.claim("The student of the ensemble beats the mean single member", kept)
assert share > 0.5, f"the student keeps {share:.0%}"
kd.say(
    f"Four members gain {gain} over one. One student, at one member's cost, keeps {kept}: "
    f"**{share:.0%}** of it. Against a student "
    "that asked a single member about the same pictures: "
    f"{outcome.difference('ensemble', 'one teacher')}. The two means differ by "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble')}: "
    f"{outcome.difference('ensemble, mean of logits', 'ensemble').verdict}."
)

# %%
models = {
    "one member": trained[0].members[0],
    "ensemble": trained[0],
    "student": outcome.students["ensemble"][0],
}
errors = {
    name: 100 * float(calibration_error(kd.measure.predict(one, data.test), data.test.labels))
    for name, one in models.items()
}
kd.plots.reliability(
    {name: kd.measure.reliability(one, data.test, bins=10) for name, one in models.items()},
    errors,
)

# %% [markdown]
# (The ensemble's logits are those of its softened mean at T = 2, the targets that the student learnt from.)
#
# ## When it does not help: a teacher that is wrong on purpose
#
# A fifth member has learnt every class under the next class's name. Alone it is right almost never, and it is sure.
#
# **Predict**: what does the average make of it? Then mix by hand: each slider is one teacher's weight. The browser mixes 500 validation
# pictures at once; those that the four good members dispute come first. Which mean bears the wrong teacher longer?

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
for number in range(1, 6):
    for weight in (0, 2, 4, 1):
        mixer.move(**{f"weight_{number}": weight})
for mean, picture in (("logits", 0), ("probabilities", 12), ("logits", 23)):
    mixer.move(mean=mean, picture=picture, weight_5=4)
    assert mixer.description.startswith(f"Mean of {mean}, first 13 %")
    assert "wrong 50 %:" in mixer.description
    assert f"Picture {picture + 1}, " in mixer.description
mixer.move(mean="probabilities", picture=0, weight_5=1)

# %%
good = kd.measure.accuracy(trained[0], data.test)
spoilt = {
    mean: kd.measure.accuracy(kd.schemes.Ensemble(five, temperature=2, mean=mean), data.test)
    for mean in ("probabilities", "logits")
}
assert kd.measure.accuracy(wrong, data.test) < 20 and spoilt["probabilities"] > good - 10
kd.say(
    f"Four good members: {good:.1f} %. With the fifth, equal weights: "
    f"**{spoilt['probabilities']:.1f} %** by the mean of "
    f"probabilities, **{spoilt['logits']:.1f} %** by the mean of logits. Four votes bear one "
    "wrong one; a majority of wrong "
    "teachers they would not, and a student cannot tell."
)

# %% [markdown]
# ## Recap
#
# - An ensemble gains where its members err differently: other pictures do more than other first weights.
# - The mean of probabilities bounds what a member can say; the mean of logits does not.
# - One student, taught by the committee on pictures without labels, keeps most of the gain at one member's cost.
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
# - Give the wrong teacher two companions. When does the average break, and do the two means break alike?
# - Weight each member by its validation accuracy: `kd.schemes.Ensemble(..., weights=...)`.
#
# **At full size** (a GPU): the same committees and more patient students, of one member's size as in Hinton et al. (2015, §4). Larger
# still: five members `kd.models.convnet()` on all pictures, and a student of the same kind.

# %%
full = kd.at_full_size(
    {name: arms[name] for name in ("labels only", "one teacher", "ensemble")},
    data,
    seeds=seeds,
    steps=2400,
    batch_size=512,
)

# %% [markdown]
# ### Read further
#
# - Hinton, Vinyals, Dean (2015), §4–5: ten speech models in one, and specialists for many classes.
# - Lakshminarayanan, Pritzel, Blundell (2017), *Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles*.
# - Guo, Pleiss, Sun, Weinberger (2017), *On Calibration of Modern Neural Networks*.
