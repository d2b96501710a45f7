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
# ## Look at the pictures
#
# Most labs use these small pictures. Each has a *label*, the name of its class. Here are two of each class.

# %%
import torch

data = kd.load_images()
two_of_each = data.train.sample(2 * len(data.classes), seed=0)
two_of_each = two_of_each.take(two_of_each.labels.argsort())
kd.plots.pictures(
    data.pictures(two_of_each.images),
    [data.classes[label] for label in two_of_each.labels],
    columns=10,
)

# %% [markdown]
# ## See the idea in one figure
#
# The **teacher** is trained already, and its weights stay as they are. The **student** is the network that we train, usually a smaller one.
#
# A network answers with one number for each class, its **logits**. The softmax turns them into **probabilities**, which are positive
# and sum to 1. A label is a **hard target**: 1 for one class and 0 for all others. The teacher's probabilities are a **soft target**: they
# also say which other classes the picture resembles.
#
# The figure follows one test picture, about which the teacher is not quite sure, through both networks. The student is still untrained.

# %%
teacher = kd.zoo.teacher("perceptron", data)
untrained = kd.models.perceptron((32,), **data.sizes, seed=0)
answers = kd.measure.predict(teacher, data.test).softmax(dim=1)  # probabilities (10,000, 10)

right = answers.argmax(dim=1) == data.test.labels
off = (answers.max(dim=1).values - 0.65).abs()
shown = torch.where(right, off, 1).argmin().item()  # right, and as near to 65 % as can be
example = data.test.take([shown])
kd.plots.teacher_and_student(
    data.pictures(example.images)[0],
    example.labels.item(),
    answers[shown],
    kd.measure.predict(untrained, example).softmax(dim=1)[0],
    data.classes,
    parameters=(kd.measure.parameters(teacher), kd.measure.parameters(untrained)),
)

# %% [markdown]
# ## Play
#
# Here are small networks that train while you watch. Points of three classes lie in the plane, each class on an arm of a spiral.
# The teacher has seen 900 points. Two students see ten of each class. One learns from hard labels, the other from targets that you choose:
# *smoothed labels*, which give all classes a small share; *soft labels*, the teacher's probabilities mixed with the label; or both
# these and the teacher's answers on points that have no label. Temperature is the subject of lab 02. Alpha is the teacher's share of the loss.
#
# **How to read it.** The maps show what each network answers at each place: the colour is the class, and it is denser where the network
# is surer. Below them are the students' test accuracies, step by step. Five pairs of students are trained, each from its own **seed**: the
# number that fixes all that is random in a run, such as the first weights. On the right is what your targets change, pair by
# pair, in percentage points.
#
# The sentence at the bottom adds two things. The **interval**, in brackets, is the 95 % confidence interval of the mean
# difference: in 95 of 100 such experiments it holds the true value. The **verdict** is *helps* where the interval lies above
# zero, *hurts* where it lies below, and *no clear difference* where it holds zero: these seeds cannot tell. Behind an accuracy, ±
# gives half the width of its own interval.
#
# Change the targets and watch the maps. Then reduce the labels of each class.

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
# There are four common ways to a cheaper model. They can be combined, and lab 12 measures them side by side on one network.
#
# | | what changes | needs a teacher | result |
# |---|---|---|---|
# | **distillation** | a new network, the student, is trained on the teacher's answers | yes | any architecture you like |
# | pruning | weights of the network itself are removed | no | the same network with fewer weights |
# | quantisation | the network's numbers are stored in fewer bits | no | the same network, less exact |
# | fine-tuning | the network's weights are trained further on new data | no | the same size, another task |
#
# ## How a lab works
#
# Run the cells from top to bottom. You will meet three things:
#
# - **Predict** asks for a guess before an experiment, because a surprise is easier to remember. Say how sure you are, too. Guesses stay on
#   this machine; in a terminal, `kdcourse progress` shows how often you were right when you were so sure.
# - **Sliders**: drag them, or use the arrow keys.
# - **Exercises**: you write a short function and the next cell checks it.
#
# Without a guess or an answer the lab goes on. The course's words are in the [glossary](../docs/glossary.md).
#
# ## Check the machine

# %%
import pandas as pd

from kdcourse.doctor import examine

pd.set_option("display.max_colwidth", None)  # a table shows its texts whole
checks = pd.DataFrame([check.as_dict() for check in examine()]).set_index("name")
assert not (checks.status == "red").any(), checks[checks.status == "red"]
checks.loc[["widgets", "GPU", "cache", "training"]]

# %% [markdown]
# Green is as it should be. Amber is no fault: the course works with less, for instance without a GPU. Red says what to do.
#
# ## Your first distillation
#
# The student has 32 hidden units and may see 1,000 of the training pictures. `kd.SoftTarget` compares the student's probabilities with the
# teacher's; lab 02 writes this loss down. A *step* is one update of the weights, on one mini-batch. The loss should fall.

# %%
from dataclasses import replace
from functools import partial

import numpy as np
from scipy import stats

few = data.train.sample(1000, seed=0)
student = kd.models.perceptron((32,), **data.sizes, seed=0)
history = kd.train(
    student, few, kd.SoftTarget(temperature=4), teacher=teacher, steps=300, progress=False
)
kd.plots.history(history.losses)

# %% [markdown]
# In 300 steps the student learnt to imitate the teacher's answers, without a label. How good is it? Accuracy, the percentage of
# right answers, is the first thing that you write yourself.

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
# first weights, which 1,000 pictures, which order. So we run both methods with ten seeds.
#
# A **recipe** holds all that one run needs: student, pictures, method, teacher and number of steps. The recipes that are compared
# are the **arms**. `kd.compare` trains every arm with every seed and keeps the scores in a file, the **ledger**. Here one arm has
# labels only. In the other the teacher has three tenths of the loss and the labels the rest: a small help, on purpose.
# `kd.TeacherCache` asks the teacher once and keeps its answers.

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
# Each grey line joins the two runs of one seed. On the right are the differences, seed by seed, with their mean and its interval.
#
# **Predict**: if somebody runs each method once, each with any of these seeds, how often do they rank the two methods wrongly?
# (The figure then shows all pairs. A tie counts as wrong.)

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
    f"Of the {ours.size * theirs.size} pairs of single runs, **{wrong:.0%}** rank the two methods wrongly. With both methods on the "
    f"*same* seed it is {paired_wrong:.0%}: both runs then share first weights, pictures and order, and that luck cancels in the difference. "
    "That is why every comparison in this course is **paired** (the same seeds in all arms), over several seeds, with an interval."
)

# %% [markdown]
# ## Write the interval yourself
#
# Let $d_s$ be the score of *distilled* less that of *labels only* with seed $s$, for $S$ seeds, in percentage points. The mean
# difference and the ends of its 95 % interval are
#
# $$\bar d = \frac{1}{S}\sum_{s=1}^{S} d_s, \qquad \bar d \pm t \, \frac{\sigma}{\sqrt{S}}, \qquad
# \sigma = \sqrt{\frac{1}{S-1}\sum_{s=1}^{S} (d_s - \bar d)^2}$$
#
# where $\sigma$ is the standard deviation of the differences, and $t$ the 97.5 % quantile of Student's t-distribution with
# $S - 1$ degrees of freedom (2.5 % are left out on either side). Each symbol is a single number.

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
kd.say(f"Distilled against labels only: {measured}. The verdict: **{measured.verdict}**.")

# %% [markdown]
# ## Watch the interval close
#
# The slider takes the first two seeds, the first three, and so on. Bars are intervals of each arm's own mean; the interval of the paired
# difference is in the sentence below. From how many seeds on is that one clear of zero, and does it stay so?

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
# Distillation hands on what the teacher knows. Here the teacher is a class mate: a network of the student's size, trained on the same 1,000
# pictures with their labels. All seeds here share these pictures, so the interval holds the luck of weights and batches, not that of the
# pictures. **Predict** the verdict.

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
    f"**{from_teacher.verdict}**. The class mate's targets are soft, too: softness alone is not what helps. Knowledge has to "
    "come from somewhere: here from the many pictures that the large teacher saw and the student did not."
)

# %% [markdown]
# ## Recap
#
# - Distillation trains a student on a teacher's answers. It removes nothing from the teacher and stores nothing in fewer bits.
# - One run mixes the effect of the method with luck. Run several seeds, pair them, and look at the interval of the difference.
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
# - Repeat the ten seeds with `kd.SoftTarget(temperature=4)` in place of the mixture. Lab 02 explains what happens.
# - How many seeds would it take to show a difference of 0.2 points, if the differences spread as they do here?
#
# ### Read further
#
# - Buciluă, Caruana, Niculescu-Mizil (2006), *Model Compression*: the idea before it had its name.
# - Hinton, Vinyals, Dean (2015), *Distilling the Knowledge in a Neural Network*.
# - Bouthillier et al. (2021), *Accounting for Variance in Machine Learning Benchmarks*: where the luck of a run comes from.
