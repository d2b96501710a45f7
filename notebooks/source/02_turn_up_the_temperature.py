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
# # Turn up the temperature
#
# A good teacher is nearly certain, and then its small probabilities are too small to learn from. The **temperature** T, a number that the
# logits are divided by, makes them larger. In this lab you write the softmax with temperature, move T from very low to very high, find out
# where the factor T² in the loss comes from, and measure what T does to a student's accuracy and to its confidence.
#
# **You will** write three short functions, move one slider a lot, and train small and large students at seven temperatures.
# **You will learn** what T does to probabilities, entropy and gradients, why the loss carries T², and how finely T needs tuning.
# **You need** lab 01. **Time:** 45 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)
cache = kd.TeacherCache(teacher)
teacher_logits = cache.logits(data.test)

# %%
certainty = teacher_logits.softmax(dim=1).max(dim=1).values
kd.say(
    f"On {100 * (certainty > 0.99).float().mean():.0f} % of the test pictures this teacher gives its answer more than 99 %. "
    f"The other {len(data.classes) - 1} classes share the rest, less than 1 %: what they say is there, but in the third decimal."
)

# %% [markdown]
# ## Measure how unsure an answer is
#
# How unsure is an answer, in one number? The **entropy** is 0 for a certain answer, and largest where all classes have the same probability:
#
# $$H(p) = -\sum_{c=1}^{C} p_c \log p_c$$
#
# $p$ are the probabilities of one picture, of shape (C,) for C classes. $H$ is one number, in nats. Its largest value is $\log C$.

# %%
kd.exercise("02.entropy")


# %% tags=["exercise"] exercise="02.entropy"
def entropy(probabilities):
    """(N, C) -> (N,) in nats; a probability of zero adds nothing."""
    ...  # your code


# %%
entropy = kd.exercise("02.entropy").check(entropy)

# %%
unsure = abs(entropy(teacher_logits.softmax(dim=1)).mean())  # of a certain teacher 0, not −0
most = entropy(torch.full((1, len(data.classes)), 1 / len(data.classes))).item()
kd.say(
    f"The teacher's answers have an entropy of **{unsure:.2f} nats** on average; {most:.2f} is the most that {len(data.classes)} classes allow."
)

# %% [markdown]
# ## Soften the softmax
#
# How can the small probabilities be made larger without changing their order? Divide all logits by T before the softmax:
#
# $$p_c(T) = \frac{\exp(z_c / T)}{\sum_{k=1}^{C} \exp(z_k / T)}$$
#
# $z$ are the logits of one picture and $p(T)$ its probabilities, both of shape (C,); T is a number above 0. T = 1 is the softmax that you
# know. **Predict**: what does the distribution become as T → 0, and as T → ∞?

# %%
limits = kd.predict(
    "02.limits",
    "As T goes from 0 to ∞, what does the distribution begin with and end with?",
    options=[
        "one class alone, then all alike",
        "all alike, then one class alone",
        "one class alone, then one class alone",
    ],
)
limits

# %%
kd.exercise("02.softmax_with_temperature")


# %% tags=["exercise"] exercise="02.softmax_with_temperature"
def softmax_with_temperature(logits, temperature):
    """(N, C) -> probabilities (N, C); must not overflow for logits of 1,000."""
    ...  # your code


# %%
softmax_with_temperature = kd.exercise("02.softmax_with_temperature").check(
    softmax_with_temperature
)

# %% [markdown]
# ## Drag it yourself
#
# What does a confident answer hide? Here are six pictures, of different classes, that the teacher gets right with about 97 %. Of all such
# pictures in a class we take the one whose third class gets most at T = 4, so that two other classes share nearly all of the rest.
#
# The thick bars are the probabilities at the first temperature, the thin bars at the second. Move the temperatures and watch four things:
# the order of the bars never changes; the entropy grows with T; at a low T one bar takes all; at a high T all become equal.
# Then add to one logit by hand. How much does it take to make another class win?

# %%
at_1, at_4 = teacher_logits.softmax(dim=1), (teacher_logits / 4).softmax(dim=1)
right = teacher_logits.argmax(dim=1) == data.test.labels
sure = right & ((at_1.max(dim=1).values - 0.97).abs() < 0.005)  # 96.5 to 97.5 %

third = torch.where(sure, at_4.sort(dim=1).values[:, -3], 0)  # 0 for all other pictures
best_of = torch.stack(
    [(third * (data.test.labels == label)).argmax() for label in range(len(data.classes))]
)
confident = best_of[third[best_of].argsort(descending=True)[:6]]

# %%
explorer = kd.widgets.temperature_explorer(
    data.pictures(data.test.images[confident]),
    teacher_logits[confident],
    data.classes,
    data.test.labels[confident],
)
explorer

# %% tags=["widget-test"]
with explorer.restored():
    for temperature in (0.1, 4, 100):
        explorer.move(temperature=temperature)
        nats = abs(
            entropy(
                softmax_with_temperature(teacher_logits[confident[:1]], temperature)
            ).item()
        )
        assert f"{nats:.2f}" in explorer.description

# %% tags=["widget-test"]
with explorer.restored():
    ends = {
        "beside": (0.1, 10, 100),
        "bias": (-10.0, 2.0, 10.0),
        "biased": (9, 4, 0),
        "picture": (5, 2, 0),
    }
    for control, values in ends.items():
        for value in values:
            before = explorer.description
            explorer.move(**{control: value})
            assert explorer.description != before

# %% [markdown]
# The first of these pictures at five temperatures, from nearly 0 to very high. The entropy stands above each panel:

# %%
coldest, hottest = (
    softmax_with_temperature(teacher_logits[confident[:1]], t)[0] for t in (0.0001, 10_000)
)
assert coldest.max() > 0.999 and (hottest - 1 / len(data.classes)).abs().max() < 0.001

softened = kd.plots.distributions(
    {
        f"T = {t:g}": softmax_with_temperature(teacher_logits[confident[:1]], t)[0]
        for t in (0.0001, 1, 4, 20, 10_000)
    },
    data.classes,
)
ends = ["one class alone" if p.max() > 0.999 else "all alike" for p in (coldest, hottest)]
limits.answer(", then ".join(ends), on=softened)

# %% [markdown]
# ## Find out where T² comes from
#
# How far is the student's softened answer from the teacher's? The soft loss is a **Kullback-Leibler divergence** (KL), times T²:
#
# $$L = T^2 \cdot \mathrm{KL}(p \,\|\, q) = \frac{T^2}{N} \sum_{n=1}^{N} \sum_{c=1}^{C} p_{nc} \, (\log p_{nc} - \log q_{nc})$$
#
# $$p = \mathrm{softmax}(z^t / T), \qquad q = \mathrm{softmax}(z^s / T)$$
#
# $z^t$ and $z^s$ are the logits of teacher and student, $p$ and $q$ their softened probabilities, all of shape (N, C) for N pictures and C
# classes. The KL is 0 where both agree. It is the cross-entropy of lab 01 less the entropy of $p$, which no step can change; so
# both have the same gradient.
#
# Work out the gradient of $L$ with respect to the student's logits on paper, for a mean over N pictures. Then write it down.

# %%
kd.exercise("02.soft_gradient")


# %% tags=["exercise"] exercise="02.soft_gradient"
def soft_gradient(student_logits, teacher_logits, temperature):
    """(N, C), (N, C) -> (N, C), the gradient of the mean over the batch."""
    ...  # your code


# %%
soft_gradient = kd.exercise("02.soft_gradient").check(soft_gradient)

# %% [markdown]
# ### Where does the second 1/T come from?
#
# Take one picture, so N = 1, and leave T² out at first. Only the part with $\log q$ depends on the student.
#
# **Step 1: the gradient in the softened logits.** Write $u = z^s / T$, of shape (C,). Then $\log q_c = u_c - \log \sum_k \exp(u_k)$, and
#
# $$\frac{\partial \, \mathrm{KL}}{\partial u_c} = q_c - p_c$$
#
# as in every cross-entropy: what the student says less what it should say.
#
# **Step 2: the first 1/T.** The student's own logits are $z^s = T u$. The chain rule through $u = z^s / T$ brings a factor 1/T:
#
# $$\frac{\partial \, \mathrm{KL}}{\partial z^s_c} = \frac{1}{T} (q_c - p_c)$$
#
# **Step 3: the second 1/T.** The difference $q_c - p_c$ depends on T, too: at a high T both distributions are nearly even. For a small
# $x$, $\exp(x)$ is about $1 + x$. With $x = z_c / T$ and the mean of the logits $\bar z = \frac{1}{C} \sum_k z_k$,
#
# $$\frac{\exp(z_c / T)}{\sum_k \exp(z_k / T)} \approx \frac{1 + z_c / T}{C + C \bar z / T}
# \approx \frac{1}{C} \left( 1 + \frac{z_c - \bar z}{T} \right)$$
#
# for teacher and student alike. In the difference the ones cancel and 1/T stays:
#
# $$q_c - p_c \approx \frac{1}{C T} \left( (z^s_c - \bar z^s) - (z^t_c - \bar z^t) \right)$$
#
# **Step 4: together.** The gradient of the KL shrinks like 1/T · 1/T = 1/T². A factor T would repair only half of that. T² keeps
# the gradient at about one size. With it, and for N pictures, the gradient is
#
# $$\frac{\partial L}{\partial z^s_{nc}} = \frac{T}{N} (q_{nc} - p_{nc})$$
#
# Step 3 holds where T is large beside the logits. Now the same in numbers, for 500 pictures and an untrained student: autograd must
# agree with your formula. The figure shows the norm (the length) of three gradients against T, both axes logarithmic. From T = 1 to
# T = 32, what shrinks like 1/T falls 32-fold, and what shrinks like 1/T² falls 1,024-fold.

# %%
temperatures = (1, 2, 4, 8, 16, 32)
student_logits = (
    kd.models.perceptron((32,), **data.sizes, seed=0)(data.test.images[:500].cpu())
    .detach()
    .requires_grad_()
)
answers = teacher_logits[:500].cpu()


def gradient_norm(loss):
    (gradient,) = torch.autograd.grad(loss, student_logits)
    return gradient.norm().item()


with_square = [
    gradient_norm(kd.losses.soft_target(student_logits, answers, temperature=t))
    for t in temperatures
]
without = [norm / t**2 for norm, t in zip(with_square, temperatures, strict=True)]
gap = [norm / t for norm, t in zip(with_square, temperatures, strict=True)]
by_hand = [
    soft_gradient(student_logits.detach(), answers, t).norm().item() for t in temperatures
]
torch.testing.assert_close(
    torch.tensor(by_hand), torch.tensor(with_square), rtol=1e-4, atol=1e-6
)

# %%
kd.plots.lines(
    temperatures,
    {"with T²": with_square, "q − p alone": gap, "without T²": without},
    xlabel="temperature",
    ylabel="norm of the gradient",
)

# %%
hard_norm = gradient_norm(F.cross_entropy(student_logits, data.test.labels[:500].cpu()))
varied, faded = max(with_square) / min(with_square), without[0] / without[-1]
kd.say(
    f"From T = {temperatures[0]} to T = {temperatures[-1]} the gradient varies by a factor of {varied:.1f} with T², and without T² it falls "
    f"by a factor of {faded:.0f}; the difference q − p alone falls by a factor of {gap[0] / gap[-1]:.0f}. Step 3 fits better at a high T: "
    f"from T = {temperatures[3]} to T = {temperatures[-1]} q − p falls by a factor of {gap[3] / gap[-1]:.1f}, and the gradient without T² by one of "
    f"{without[3] / without[-1]:.0f}. The gradient of the hard loss is {hard_norm:.2g} here, whatever T is. So without T², a mixture of both that was balanced at T = {temperatures[0]} is nearly all "
    f"labels at T = {temperatures[-1]}."
)

# %% [markdown]
# ## Measure: which temperature for which student?
#
# Which T should one take, and does it depend on the student? We train two sizes of student, with 8 and with 128 hidden units, on 1,000
# pictures and with the same number of steps. At each of seven temperatures a student learns from the teacher alone. Two cheap rivals learn
# from labels alone: as they are, and **smoothed**, which gives a fixed share, 0.1 or 0.3, to all classes alike. A smoothed label is
# soft, too, and needs no teacher.
#
# What else differs? The teacher has seen all training pictures with their labels, the rivals only these 1,000. And T sets more
# than softness. At a low T the likeliest class has nearly all of the softened probability, so the loss asks for little beside
# that class. At a high T it asks the student to match every logit, those of very unlikely classes too, so it has more to copy.
#
# **Predict**: where is the small student's curve highest? And which student loses more at a high T?

# %%
peak = kd.predict(
    "02.best-temperature",
    "Which of the seven temperatures, from 0.25 to 20, suits the student of 8 units best on validation data?",
    between=(0, 20),
)
peak

# %%
cost = kd.predict(
    "02.cost-of-high-temperature",
    "From T = 1 to T = 8: which student loses more by it?",
    options=["the one of 8 units", "the one of 128 units", "no clear difference"],
)
cost

# %%
swept = (0.25, 0.5, 1, 2, 4, 8, 20)
softs = [f"T = {t:g}" for t in swept]
smoothings = (0.1, 0.3)


def arms_of(hidden):
    """A small or large student on labels, on smoothed labels, and at each temperature."""
    labels = kd.Recipe(
        partial(kd.models.perceptron, (hidden,), **data.sizes),
        lambda seed: data.train.sample(1000, seed),
        steps=300,
        learning_rate=1e-2,
    )
    smoothed = {
        f"smoothed {e:g}": replace(labels, method=kd.methods.LabelSmoothing(e))
        for e in smoothings
    }
    taught = {
        f"T = {t:g}": replace(labels, method=kd.SoftTarget(temperature=t), teacher=cache)
        for t in swept
    }
    return {"labels only": labels, **smoothed, **taught}


sizes = {
    f"{hidden} units": kd.compare(
        arms_of(hidden), data, seeds=5, ledger=f"02-temperature-{hidden}"
    )
    for hidden in (8, 128)
}

# %% [markdown]
# The figure shows test accuracy against T for both students, means of five seeds with their intervals. Dashed lines: the same
# student on labels only. The T axis is logarithmic.

# %%
temperature_curves = kd.plots.curves(
    swept,
    {size: outcome.scores[softs].to_numpy() for size, outcome in sizes.items()},
    levels={size: outcome.scores["labels only"] for size, outcome in sizes.items()},
    xlabel="temperature",
    ylabel="test accuracy, %",
    logarithmic=True,
)
chosen = {size: outcome.best(among=softs) for size, outcome in sizes.items()}
best_for_small = swept[softs.index(chosen["8 units"])]
peak.answer(best_for_small, on=temperature_curves, axis="x")

# %% [markdown]
# Each student's temperature is chosen on the validation split. Then every other temperature is compared with it on the test split, seed by
# seed. Among so many comparisons a few look clear by luck. *Holm* is the verdict after Holm's correction, which allows for that by
# asking more of each. First the student of 8 units, then that of 128.

# %%
against = {size: outcome.against(chosen[size]).only(*softs) for size, outcome in sizes.items()}
against["8 units"].table()

# %%
against["128 units"].table()

# %%
rivals = ["labels only", *(f"smoothed {e:g}" for e in smoothings)]
for size, outcome in sizes.items():
    best, table = chosen[size], against[size].table()
    worse = table.index[table["verdict"] == "hurts"]
    corrected = table.index[table["Holm"] == "hurts"]
    edge = (
        " at the edge of the grid, so the best may lie beyond;"
        if best in softs[:: len(softs) - 1]
        else ""
    )
    rival = outcome.best(among=rivals)
    kd.claim(
        f"{size}: {best}, chosen on validation data, beats labels only",
        outcome.difference(best),
    )
    kd.say(
        f"{size}: **{best}** was chosen;{edge} of the other {len(softs) - 1} temperatures {len(worse)} are clearly worse ({', '.join(worse) or 'none'}), "
        f"{len(corrected)} after Holm's correction. The other {len(softs) - 1 - len(worse)} cannot be told from it. Without a teacher, the best by validation "
        f"data is *{rival}*; over it {best} brings {outcome.difference(best, rival)}."
    )

# %% [markdown]
# ### Is training faster and smoother?
#
# Does a student get there sooner with soft targets? Hinton et al. (2015, §1) expect it: a soft target says more of each picture
# than a label, and its gradient varies less from picture to picture. So we train the student of 128 units again, with the same
# five seeds, and look at its accuracy on the validation split every 20 steps. *Faster*: fewer steps to the accuracy at which
# labels only end. *Smoother*: less accuracy lost again from one look to the next, added up over the whole training. Learning rate
# and schedule are the same in both arms and tuned for neither.


# %%
def watched(recipe, seed):
    """One run's (step, validation accuracy), every 20 steps."""
    _, training = recipe.begin(seed)
    looks = kd.training.Evaluate(data.validation, every=20)
    return training(callbacks=[looks], progress=False).evaluations


arms, taught = arms_of(128), chosen["128 units"]
runs = {
    arm: np.array([watched(arms[arm], seed) for seed in range(5)])  # (seeds, looks, 2)
    for arm in ("labels only", taught)
}
steps, way = runs[taught][0, :, 0], {arm: found[:, :, 1] for arm, found in runs.items()}
kd.plots.curves(steps, way, xlabel="step", ylabel="validation accuracy, %")

# %%
gain = way[taught] - way["labels only"]
first, last = kd.difference(gain[:, 0]), kd.difference(gain[:, -1])
passed = way[taught].mean(axis=0) >= way["labels only"][:, -1].mean()
lost = {
    arm: -np.diff(accuracy, axis=1).clip(max=0).sum(axis=1) for arm, accuracy in way.items()
}
smoother = kd.difference(lost["labels only"] - lost[taught])

# %%
when = f"after {steps[passed.argmax()]:g} steps" if passed.any() else "at no step"
meaning = {
    "helps": "soft targets are the smoother way here",
    "hurts": "soft targets are the less smooth way here",
    "no clear difference": "neither way is clearly smoother",
}
kd.say(
    f"Taught at {taught}, less labels only: {first} after {steps[0]:g} steps ({first.verdict}), {last} at the end ({last.verdict}). The mean of "
    f"the taught students reaches, **{when}** of {steps[-1]:g}, the accuracy at which *labels only* ends. Accuracy lost again from look to look, "
    f"*labels only* less the taught students: {smoother}, so {meaning.get(smoother.verdict, smoother.verdict)}."
)

# %% [markdown]
# ### Does a small student want a lower T?
#
# Hinton et al. (2015, §3) report for MNIST: with 30 units T from 2.5 to 4 was best, with 300 units anything above 8 did alike.
# Their explanation: a student too small to match every logit does better if it leaves out the very negative ones, and a lower
# temperature ignores those. Comparing the two best temperatures found here would show little, because each depends on luck. One
# number answers the question: what going from T = 1 to T = 8 changes for the small student, less what it changes for the large
# one, seed by seed.

# %%
small, large = (outcome.against("T = 1") for outcome in sizes.values())
more = small.gain_beyond(large, "T = 8")
meaning = {
    "hurts": "a high T costs the small student more, as in the paper",
    "helps": "a high T costs the *large* student more, the other way round than in the paper",
    "no clear difference": "whether a high T costs the small student more is not clear here",
}
kd.say(
    f"From T = 1 to T = 8: 8 units {small.difference('T = 8')}, 128 units {large.difference('T = 8')}. The difference of the two is "
    f"{more}: {meaning[more.verdict]}. A temperature that was chosen for one teacher, student and data set need not suit another."
)
dearer = {"hurts": "the one of 8 units", "helps": "the one of 128 units"}
cost.answer(dearer.get(more.verdict, "no clear difference"))

# %% [markdown]
# ### A temperature without a teacher
#
# A student can be given a temperature of its own after training: divide its logits by one number, chosen on the validation split
# (Guo et al. 2017). No decision changes, only how sure the student says it is. The **calibration error** is the gap between how
# sure it is and how often it is right, in percentage points: 0 is best. Is a teacher needed for a student whose confidence can be believed, or
# will that one number do? Look at the second and third bar.


# %%
def calibration(student, own=False):
    """Calibration error on the test split, after the student's own temperature if wanted."""
    t = kd.measure.temperature_scaling(student, data.validation) if own else 1
    return kd.measure.calibration_error(kd.measure.predict(student, data.test) / t, data.test)


students, best = sizes["128 units"].students, chosen["128 units"]
gaps = {
    "labels only": [calibration(student) for student in students["labels only"]],
    "labels, own temperature": [calibration(s, own=True) for s in students["labels only"]],
    f"teacher, {best}": [calibration(student) for student in students[best]],
    f"teacher, {best}, own temperature": [calibration(s, own=True) for s in students[best]],
}
errors = pd.DataFrame(gaps).rename_axis("seed")
kd.plots.comparison(errors, baseline="labels only", ylabel="calibration error, points")

# %%
alone, taught = "labels, own temperature", f"teacher, {best}"
honest = kd.difference(errors[alone] - errors[taught])
both = kd.difference(errors[alone] - errors[f"{taught}, own temperature"])
meaning = {
    "helps": "the teacher's student is the better calibrated of the two",
    "hurts": "the one number calibrates the student better than the teacher does, and it needs no teacher",
    "no clear difference": "the two cannot be told apart, and the number is far cheaper",
}
kd.say(
    f"The student on labels, with its own temperature, less the teacher's student: {honest} of error, so {meaning[honest.verdict]}. Give the "
    f"teacher's student a temperature of its own too, and the difference is {both}. (Each number was chosen with the {len(data.validation):,} labels of "
    "the validation split.)"
)

# %% [markdown]
# ## When it does not help: T² left out of a mixture
#
# What happens if T² is forgotten? It is a common bug in published distillation code, and nothing crashes. The loss here is a mixture
#
# $$L = \alpha \cdot T^2 \cdot \mathrm{KL}(p \,\|\, q) + (1 - \alpha) \cdot H(t, q_1)$$
#
# where $\alpha$ (**alpha**) is the teacher's share, a number from 0 to 1. The first term is the soft loss from above. The second is the
# cross-entropy of lab 01 with the one-hot labels $t$; $q_1$ are the student's probabilities at T = 1. Here $\alpha = 0.5$ and T = 8. One arm has T²,
# in the other it is missing. **Predict**: where does the arm with the bug end, compared with the sound one?

# %%
forgot = kd.predict(
    "02.forgotten-square",
    "T² forgotten, against the same mixture with T²: where does it end?",
    options=["lower", "higher", "no clear difference"],
)
forgot

# %%
mixture = kd.Recipe(
    partial(kd.models.perceptron, (128,), **data.sizes),
    lambda seed: data.train.sample(1000, seed),
    method=kd.Distillation(temperature=8, alpha=0.5),
    teacher=cache,
    steps=300,
)
forgotten = 0.5 / 8**2 * kd.SoftTarget(temperature=8) + 0.5 * kd.HardTarget()

bug = kd.compare(
    {
        "labels only": replace(mixture, method=kd.HardTarget()),
        "T² forgotten": replace(mixture, method=forgotten),
        "with T²": mixture,
        "with T², T = 2": replace(mixture, method=kd.Distillation(temperature=2, alpha=0.5)),
    },
    data,
    ledger="02-forgotten-square",
)

# %%
lost = bug.difference("with T²", "T² forgotten")
ended = {"helps": "lower", "hurts": "higher"}.get(lost.verdict, "no clear difference")
forgot.answer(ended, on=bug.figure())

# %%
meaning = {
    "helps": "The loss went down and the code ran, but the student learnt little from the teacher.",
    "no clear difference": "The loss went down, the code ran, and nothing in the result gives the bug away.",
    "hurts": "Here the bug even helps: at T = 8 this teacher is better with a small share, and forgetting T² gave it one.",
}
kd.say(
    f"Without T² the soft half weighs {8**2} times less than alpha says. Against labels only the buggy arm brings "
    f"{bug.difference('T² forgotten')}, the sound one {bug.difference('with T²')}; putting T² back is worth {lost}. {meaning[lost.verdict]} To give a "
    f"teacher less influence, take a lower T or alpha: T = 2 with T² brings {bug.difference('with T², T = 2', 'T² forgotten')} over the bug."
)

# %% [markdown]
# ## Recap
#
# - Temperature divides logits: it keeps their order and raises the entropy, from one-hot (T → 0) to uniform (T → ∞).
# - The gradient of the KL shrinks like 1/T²: once by the chain rule, once because q − p shrinks. With T² it is T · (q − p) / N
#   and keeps about one size.
# - T is chosen on validation data and reported with its neighbours: some cannot be told from the best, others cost points. Which do
#   depends on teacher, student and data.
# - A student's confidence can be corrected after training, with one number and no teacher.
#
# ### Check yourself

# %%
quiz = kd.quiz("02")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Show on paper that for T → ∞ the soft loss becomes the squared difference of centred logits, over 2C (Hinton et al., §2.1). Then
#   compare `kd.LogitMSE()` with `kd.SoftTarget(temperature=50)`.
# - Give the sweep a third student of 1,000 units. Does its curve flatten?
# - Use `kd.StandardizedSoftTarget()`: the logits' scale is taken out first. Is the curve flatter over T?
#
# **At full size** (a GPU): all pictures and 30 units, the smaller student of Hinton et al. (2015, §3). Write 300 for their larger one.

# %%
full = kd.at_full_size(
    arms_of(30), data, seeds=3, train=data.train, steps=1200, batch_size=512
)

# %% [markdown]
# ### Read further
#
# - Hinton, Vinyals, Dean (2015), *Distilling the Knowledge in a Neural Network*, §2 and §2.1.
# - Sun et al. (2024), *Logit Standardization in Knowledge Distillation*: why one temperature for all pictures is not the last word.
# - Guo et al. (2017), *On Calibration of Modern Neural Networks*: the same T, used for honest confidence.
