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
# # Meet knowledge distillation
#
# A large network that works well is often too slow, too big or too costly where it is needed. **Knowledge distillation** trains a
# small network, the *student*, on the answers of the large one, the *teacher*.
#
# **You will** check your machine, distil your first student, and run the same two methods ten times.
# **You will learn** what distillation is and is not, how a lab works, and why one run proves nothing.
# **You need** Python and some PyTorch. **Time:** 25 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %% [markdown]
# ## Play first
#
# Points of three classes lie in the plane, each class on an arm of a spiral. A *teacher* has seen 900 of them. Two *students*, small
# networks, see ten of each class and are trained while you watch: one on **hard** labels (each point is of one class), one on targets
# that you choose. **Soft** labels are what the teacher says of a point: how likely it finds each class.
#
# Change the targets and watch the maps. Then turn the labels down, or let the teacher label points that have none. Whether a difference is
# real, the sentence below says: it holds five pairs of students against each other.

# %%
playground = kd.widgets.playground()
playground

# %% tags=["widget-test"]
ends = {"temperature": (1.0, 10.0), "alpha": (0.0, 1.0), "labels": (2, 30), "width": (2, 32)}
with playground.restored():
    said = set()
    for control, values in {"targets": playground.controls["targets"].options, **ends}.items():
        for value in values:
            playground.move(**{control: value})
            said.add(playground.description)
    assert len(said) >= 10

# %% [markdown]
# ## What it is, and what it is not
#
# Four ways to a cheaper model. They combine, and lab 12 measures them side by side on one network.
#
# | | what changes | needs a teacher | result |
# |---|---|---|---|
# | **distillation** | a new student is trained on the teacher's answers | yes | any architecture you like |
# | pruning | weights of the network itself are removed | no | the same network with holes |
# | quantisation | its numbers are stored in fewer bits | no | the same network, coarser |
# | fine-tuning | its weights are trained further on new data | no | the same size, another task |
#
# ## How a lab works
#
# Run the cells from top to bottom. You will meet **Predict** (guess before you run: it is how surprise becomes memory), sliders
# (drag them, or use the arrow keys), and exercises. An exercise left blank never stops the lab: it goes on with the reference.
#
# Say with each guess how sure you are. It is kept on this machine, beside what came out. In a terminal, `kdcourse progress` draws how
# often you were right when you were so sure: how well you know what you know. Without a guess the lab goes on.
#
# ## Check the machine

# %%
import pandas as pd

from kdcourse.doctor import examine

checks = pd.DataFrame([check.as_dict() for check in examine()]).set_index("name")
assert not (checks.status == "red").any(), checks[checks.status == "red"]
checks.loc[["widgets", "GPU", "cache", "training"]]

# %% [markdown]
# Every row should be green; amber works, with less. Red says what to do.
#
# ## Your first distillation
#
# Pictures, a trained teacher, and a student of 32 hidden units that may see 1,000 of the pictures.

# %%
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import stats

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)

# %%
few = data.train.sample(1000, seed=0)
student = kd.models.perceptron((32,), **data.sizes, seed=0)
history = kd.train(
    student, few, kd.SoftTarget(temperature=4), teacher=teacher, steps=300, progress=False
)
kd.plots.history(history.losses)

# %% [markdown]
# That was it: 300 steps in which the student tried to say what the teacher says. How good is it? Accuracy is the first thing you
# write yourself.

# %%
kd.exercise("00.accuracy")


# %% tags=["exercise"] exercise="00.accuracy"
def accuracy(logits, labels):
    """Logits (N, C), labels (N,) -> percent of right answers."""
    ...  # your code


# %%
accuracy = kd.exercise("00.accuracy").check(accuracy)

# %%
reached = {
    name: float(accuracy(kd.measure.predict(model, data.test), data.test.labels))
    for name, model in (("teacher", teacher), ("student", student))
}
ratio = kd.measure.parameters(teacher) / kd.measure.parameters(student)
kd.say(
    f"The teacher gets {reached['teacher']:.1f} % of the test pictures right, the student {reached['student']:.1f} %, with "
    f"{ratio:.0f} times fewer parameters and {len(data.train) // len(few)} times fewer pictures."
)

# %% [markdown]
# ## Why one run proves nothing
#
# Is the student better *because of the teacher*? It must be compared with the same student on labels only. Each run has its luck:
# first weights, which 1,000 pictures, which order. So we run both methods with ten seeds. The teacher has a share of three tenths
# here, the labels the rest: a small help, on purpose.

# %%
labels_only = kd.Recipe(
    partial(kd.models.perceptron, (32,), **data.sizes),
    lambda seed: data.train.sample(1000, seed),
    steps=300,
)
distilled = replace(
    labels_only,
    method=kd.Distillation(temperature=1, alpha=0.3),
    teacher=kd.TeacherCache(teacher),
)
outcome = kd.compare(
    {"labels only": labels_only, "distilled": distilled}, data, seeds=10, ledger="00-ten-seeds"
)

# %%
outcome.figure()

# %% [markdown]
# Each grey line is one seed. **Predict**: if somebody runs each method once, with whatever seed, how often do they rank the two wrongly?

# %%
wrongly = kd.predict(
    "00.wrong-rankings",
    "Of all pairs of one run each, how many rank the two methods wrongly?",
    between=(0, 100),
    unit="%",
)
wrongly

# %%
ours, theirs = outcome.scores["distilled"].to_numpy(), outcome.scores["labels only"].to_numpy()
wrong = (ours[:, None] <= theirs[None, :]).mean()
ranked = kd.plots.rankings(outcome.scores, better="distilled", than="labels only")
wrongly.answer(100 * wrong, on=ranked)

# %%
paired_wrong = (ours <= theirs).mean()
kd.say(
    f"Of the {ours.size * theirs.size} pairs of single runs, **{wrong:.0%}** rank the two against the mean of all seeds. With both "
    f"methods on the *same* seed it is {paired_wrong:.0%}: what luck they share cancels. That is why every comparison in this course is "
    "paired, over several seeds, with an interval."
)

# %% [markdown]
# ## Write the interval yourself

# %%
kd.exercise("00.paired_difference")


# %% tags=["exercise"] exercise="00.paired_difference"
def paired_difference(ours, theirs):
    """Scores by seed (S,), (S,) -> (mean difference, half width of its 95 % interval)."""
    ...  # your code


# %%
paired_difference = kd.exercise("00.paired_difference").check(paired_difference)

# %%
mean, half = paired_difference(ours, theirs)
measured = outcome.difference("distilled")
assert np.isclose(mean, measured.mean) and np.isclose(mean + half, measured.high)
kd.say(
    f"Distilled against labels only: {measured}. In this course's words: **{measured.verdict}**."
)

# %% [markdown]
# ## Watch the interval close
#
# Move the slider: the first two seeds, the first three, … How many does it take until the interval is clear of zero, and does
# it stay there?

# %%
import ipywidgets as widgets


def draw(seeds):
    return kd.plots.comparison(outcome.scores.iloc[:seeds], baseline="labels only")


# %%
closing = kd.widgets.live(draw, seeds=widgets.IntSlider(2, min=2, max=10, description="seeds"))
closing

# %% tags=["widget-test"]
with closing.restored():
    for seeds in (2, 6, 10):
        closing.move(seeds=seeds)
        assert f"over {seeds} seeds" in closing.description

# %% [markdown]
# ## When it does not help: a teacher that knows no more than the student
#
# Distillation hands on what the teacher knows. Here the teacher is a student of the same size, trained on the same 1,000 pictures with
# their labels. All seeds here share these pictures: the interval holds the luck of weights and batches, not that of the pictures.
# **Predict** the verdict.

# %%
verdict = kd.predict(
    "00.class-mate",
    "A class mate as teacher, against labels only: what does it do?",
    options=["it helps", "it hurts", "no clear difference"],
)
verdict

# %%
class_mate = labels_only.run(0)
alone = replace(labels_only, train=few)
taught = replace(alone, method=kd.SoftTarget(temperature=1))
arms = {
    "labels only": alone,
    "taught by a class mate": replace(taught, teacher=kd.TeacherCache(class_mate)),
    "taught by the teacher": replace(taught, teacher=distilled.teacher),
}
mates = kd.compare(arms, data, seeds=5, ledger="00-class-mate")

# %%
from_mate, from_teacher = (
    mates.difference(f"taught by {whom}") for whom in ("a class mate", "the teacher")
)
found = {"helps": "it helps", "hurts": "it hurts"}.get(
    from_mate.verdict, "no clear difference"
)
verdict.answer(found, on=mates.figure())

# %%
assert from_mate.mean < from_teacher.mean
kd.say(
    f"A class mate as teacher brings {from_mate}: **{from_mate.verdict}**. The large teacher brings {from_teacher}: "
    f"**{from_teacher.verdict}**. What its softer targets bring is little beside that. Knowledge has to come from somewhere: here from the "
    "many pictures that the large teacher saw and the student did not."
)

# %% [markdown]
# ## Recap
#
# - Distillation trains a student on a teacher's answers; it removes nothing from the teacher and stores nothing in fewer bits.
# - One run mixes the method with luck. Pair the seeds, run several, look at the interval.
# - A teacher can only hand on what it knows.
#
# ### Check yourself

# %%
quiz = kd.quiz("00")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Repeat the ten seeds with `kd.SoftTarget(temperature=4)`. Lab 02 explains what happened.
# - How many seeds does a difference of 0.2 points need, with this spread?
#
# ### Read further
#
# - Buciluă, Caruana, Niculescu-Mizil (2006), *Model Compression*: the idea before it had its name.
# - Hinton, Vinyals, Dean (2015), *Distilling the Knowledge in a Neural Network*.
# - Bouthillier et al. (2021), *Accounting for Variance in Machine Learning Benchmarks*: where the luck of a run comes from.
