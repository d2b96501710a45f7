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
# A good teacher is nearly certain, and a certain teacher says little. The temperature makes it speak up. In this lab you write
# the softmax with temperature, drag it from freezing to boiling, find out where the famous T² comes from, and measure what
# T does to a student's accuracy and to its confidence.
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
    f"The other {len(data.classes) - 1} classes share what is left: the knowledge is there, but in the third decimal."
)

# %% [markdown]
# ## Measure how unsure an answer is
#
# $$H(p) = -\sum_c p_c \log p_c$$
#
# The *entropy* is 0 for a certain answer, and largest where all classes are alike.

# %%
kd.exercise("02.entropy")


# %% tags=["exercise"] exercise="02.entropy"
def entropy(probabilities):
    """(N, C) -> (N,) in nats; a probability of zero adds nothing."""
    ...  # your code


# %%
entropy = kd.exercise("02.entropy").check(entropy)

# %%
unsure = entropy(teacher_logits.softmax(dim=1)).mean()
most = entropy(torch.full((1, len(data.classes)), 1 / len(data.classes))).item()
kd.say(
    f"The teacher's answers have an entropy of **{unsure:.2f} nats** on average; {most:.2f} is the most that {len(data.classes)} classes allow."
)

# %% [markdown]
# ## Soften the softmax
#
# $$p_c(T) = \frac{\exp(z_c / T)}{\sum_k \exp(z_k / T)}$$
#
# T = 1 is the softmax you know. **Predict**: what does the distribution become as T → 0, and as T → ∞?

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
# Six pictures about which the teacher hesitates. Watch four things: the order of the bars never changes; the entropy only
# grows; at the cold end one bar takes all; at the hot end they all become equal. The thin bars are the same logits at a second
# temperature. And what does it take to make another class win? Add to its logit by hand.

# %%
hesitant = certainty.argsort()[:6]
explorer = kd.widgets.temperature_explorer(
    data.pictures(data.test.images[hesitant]),
    teacher_logits[hesitant],
    data.classes,
    data.test.labels[hesitant],
)
explorer

# %% tags=["widget-test"]
with explorer.restored():
    for temperature in (0.1, 4, 100):
        explorer.move(temperature=temperature)
        nats = entropy(
            softmax_with_temperature(teacher_logits[hesitant[:1]], temperature)
        ).item()
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

# %%
coldest, hottest = (
    softmax_with_temperature(teacher_logits[hesitant[:1]], t)[0] for t in (0.0001, 10_000)
)
assert coldest.max() > 0.999 and (hottest - 1 / len(data.classes)).abs().max() < 0.001

softened = kd.plots.distributions(
    {
        f"T = {t:g}": softmax_with_temperature(teacher_logits[hesitant[:1]], t)[0]
        for t in (0.0001, 1, 4, 20, 10_000)
    },
    data.classes,
)
ends = ["one class alone" if p.max() > 0.999 else "all alike" for p in (coldest, hottest)]
limits.answer(", then ".join(ends), on=softened)

# %% [markdown]
# ## Find out where T² comes from
#
# The soft loss compares the teacher's $p$ with the student's $q$, both softened by T:
#
# $$L = T^2 \cdot \mathrm{KL}(p \,\|\, q), \qquad p = \mathrm{softmax}(z^{\text{teacher}}/T), \quad q = \mathrm{softmax}(z^{\text{student}}/T)$$
#
# Work out its gradient with respect to the student's logits on paper, for a mean over N pictures. Then write it down.

# %%
kd.exercise("02.soft_gradient")


# %% tags=["exercise"] exercise="02.soft_gradient"
def soft_gradient(student_logits, teacher_logits, temperature):
    """(N, C), (N, C) -> (N, C), the gradient of the mean over the batch."""
    ...  # your code


# %%
soft_gradient = kd.exercise("02.soft_gradient").check(soft_gradient)

# %% [markdown]
# Autograd agrees with the formula, and shows what happens without T²:

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
by_hand = [
    soft_gradient(student_logits.detach(), answers, t).norm().item() for t in temperatures
]
torch.testing.assert_close(
    torch.tensor(by_hand), torch.tensor(with_square), rtol=1e-4, atol=1e-6
)

# %%
kd.plots.lines(
    temperatures,
    {"with T²": with_square, "without": without},
    xlabel="temperature",
    ylabel="norm of the gradient",
)

# %%
hard_norm = gradient_norm(F.cross_entropy(student_logits, data.test.labels[:500].cpu()))
varied, faded = max(with_square) / min(with_square), without[0] / without[-1]
kd.say(
    f"From T = {temperatures[0]} to T = {temperatures[-1]} the gradient varies by a factor of {varied:.1f} with T² and fades by a "
    f"factor of {faded:.0f} without. The hard loss has a gradient of {hard_norm:.2g} here at any T: without T², a mixture set up "
    f"at T = {temperatures[0]} is all labels at T = {temperatures[-1]}."
)

# %% [markdown]
# ## Measure: which temperature for which student?
#
# Two sizes of student, 1,000 pictures, the same steps for all. At each of seven temperatures a student learns from the teacher
# alone. Two cheap rivals learn from the labels alone: as they are, and **smoothed**. A smoothed label gives a fixed share, 0.1 or 0.3,
# to all classes alike; it is soft too, and needs no teacher.
#
# What else differs? The teacher has seen all training pictures with their labels, the rivals only these 1,000. And T sets more than
# softness. At low T the loss asks for little: be as sure of the same class. At high T it asks for every logit at its size, those of
# the hopeless classes too, so a student has more to copy.
#
# **Predict**: where is the small student's curve highest? Which student does a high T cost more?

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
# Each student's temperature is chosen on the validation split. Then every other temperature is held against it on the test split,
# seed by seed. "Holm" is the verdict that is left when we allow for having made so many comparisons.

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
        f"{len(corrected)} by Holm. The other {len(softs) - 1 - len(worse)} cannot be told from it. Without a teacher, the best by validation data is "
        f"*{rival}*; over it {best} brings {outcome.difference(best, rival)}."
    )

# %% [markdown]
# ### Does a small student want a lower T?
#
# Hinton et al. (2015, §3) report for MNIST: with 30 units T from 2.5 to 4 was best, with 300 units anything above 8 did alike. Their
# explanation: a student too small to match every logit does well to leave out the very negative ones, and a lower temperature
# ignores those. Two best temperatures, each with its luck, would not show that here. One number would: what going from T = 1 to
# T = 8 changes for the small student, less what it changes for the large one, seed by seed.

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
    f"{more}: {meaning[more.verdict]}. A temperature holds for its teacher, student and data."
)
dearer = {"hurts": "the one of 8 units", "helps": "the one of 128 units"}
cost.answer(dearer.get(more.verdict, "no clear difference"))

# %% [markdown]
# ### A temperature without a teacher
#
# A student can be given a temperature of its own after training: divide its logits by one number, chosen on the validation split
# (Guo et al. 2017). No answer changes, only how sure the student says it is. The **calibration error** is the gap between how
# sure it is and how often it is right, in points. Is a teacher needed for an honest student, or will that one number do?


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
    "helps": "the teacher's student is the more honest of the two",
    "hurts": "the one number makes the more honest student, and needs no teacher",
    "no clear difference": "the two cannot be told apart, and the number is far cheaper",
}
kd.say(
    f"The student on labels, with its own temperature, less the teacher's student: {honest} of error, so {meaning[honest.verdict]}. Give the "
    f"teacher's student a temperature of its own too, and what is left is {both}. (Each number was chosen with the {len(data.validation):,} labels of "
    "the validation split.)"
)

# %% [markdown]
# ## When it does not help: T² left out of a mixture
#
# Half labels, half teacher, T = 8. In one arm the soft half carries T², in the other it was forgotten: the most common bug in
# published distillation code. Nothing crashes. **Predict**: where does the buggy arm end, beside the
# sound one?

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
    "helps": "The loss went down, the code ran, and most of the teacher was never heard.",
    "no clear difference": "The loss went down, the code ran, and nothing in the result gives the bug away.",
    "hurts": "Here the bug even pays: forgetting T² turned a teacher down that is better turned down at T = 8. Right for the wrong reason.",
}
kd.say(
    f"Without T² the soft half weighs {8**2} times less than alpha says. Against labels only the buggy arm brings "
    f"{bug.difference('T² forgotten')}, the sound one {bug.difference('with T²')}; putting T² back is worth {lost}. {meaning[lost.verdict]} The "
    f"honest way to turn a teacher down is a lower T or alpha: T = 2 with T² brings {bug.difference('with T², T = 2', 'T² forgotten')} over the bug."
)

# %% [markdown]
# ## Recap
#
# - Temperature divides logits: it keeps their order and raises the entropy, from one-hot (T → 0) to uniform (T → ∞).
# - The gradient of the soft loss is T · (q − p) / N. T² keeps its size while T changes.
# - T is chosen on validation data and reported with its neighbours: some cannot be told from the best, others cost points. Which do
#   depends on teacher, student and data.
# - A student's confidence can be mended after training, with one number and no teacher.
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
