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
# # Compare hard and soft targets
#
# A label names one class and calls all others equally wrong. A teacher's answer is a whole distribution: a probability for each
# class. In this lab you see what the teacher adds, check whether it means something, and measure what it is worth.
#
# **You will** look at hard and soft targets of the same pictures, write both by hand, and train students on each.
# **You will learn** what *dark knowledge* is (what a soft target says of the classes that are not the answer), and when it helps.
# **You need** lab 00. **Time:** 40 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)

# %% [markdown]
# ## Look at what a label leaves out
#
# Below are four test pictures, which the teacher has never seen. Beside each stands its **one-hot** label: 1 for one class
# and the same 0 for all others, similar or not. Then comes the teacher's soft target.
#
# The soft target is $p = \mathrm{softmax}(z / T)$. Here $z$ are the teacher's logits, of shape (N, C) for N pictures and C classes; $p$ are
# probabilities of the same shape, and each row sums to 1. $T$ is the temperature, a single number. We take $T = 2$, which softens a
# little; lab 02 explains how.
#
# The pictures are chosen by a rule, one for each of four classes: the teacher gets it right, and its likeliest class, the *winner*, has as
# nearly 65 % of the probability as can be. Look at where the other 35 % go.

# %%
cache = kd.TeacherCache(teacher)
teacher_logits = cache.logits(data.test)
soft = (teacher_logits / 2).softmax(dim=1)  # (10,000, 10)
right = teacher_logits.argmax(dim=1) == data.test.labels

winner = soft.max(dim=1).values  # (10,000,)
off = torch.where(right, (winner - 0.65).abs(), torch.inf)
of_class = [
    torch.where(data.test.labels == label, off, torch.inf).argmin() for label in range(0, 8, 2)
]
chosen = torch.stack(of_class)

# %%
kd.plots.soft_labels(
    data.pictures(data.test.images[chosen]),
    soft[chosen],
    data.classes,
    labels=data.test.labels[chosen],
)

# %% [markdown]
# ## Turn through the pictures
#
# Drag the slider (or use the arrow keys) through the hundred pictures about which the teacher is right and least sure. Which classes share
# the probability?

# %%
hardest = torch.where(right, winner, torch.inf).argsort()[:100]


def draw(rank):
    one = hardest[rank : rank + 1]
    pictures = data.pictures(data.test.images[one])
    return kd.plots.soft_labels(
        pictures, soft[one], data.classes, labels=data.test.labels[one]
    )


# %%
import ipywidgets as widgets

browser = kd.widgets.live(
    draw, rank=widgets.IntSlider(0, min=0, max=99, description="picture")
)
browser

# %% tags=["widget-test"]
with browser.restored():
    for rank in (0, 50, 99):
        browser.move(rank=rank)
        assert data.classes[data.test.labels[hardest[rank]]] in browser.description

# %% [markdown]
# **Predict** before you go on: which two classes does the teacher find most alike, over all training pictures? The answers
# offered are the three pairs of classes that most often take the first two places among these hundred pictures.


# %%
def named(pair):
    return " and ".join(data.classes[label] for label in sorted(pair))


between = teacher_logits[hardest].topk(2).indices.sort(dim=1).values
pairs, often = between.unique(dim=0, return_counts=True)
offered = [named(pair) for pair in pairs[often.argsort(descending=True)[:3]].tolist()]
alike = kd.predict(
    "01.most-alike",
    "Which two classes does the teacher find most alike?",
    options=[*sorted(offered), "another pair"],
)
alike

# %% [markdown]
# ## Write both kinds of target by hand
#
# How does a label become a distribution that a loss can compare with the student's? By one-hot rows. For labels $y$, of shape (N,), they are
#
# $$t_{nc} = 1 \text{ if } c = y_n, \quad 0 \text{ otherwise}$$
#
# where $n$ counts the N pictures and $c$ the C classes, so $t$ has the shape (N, C).

# %%
kd.exercise("01.one_hot")


# %% tags=["exercise"] exercise="01.one_hot"
def one_hot(labels, classes):
    """(N,) int64 -> (N, classes) float32, a single 1 in each row."""
    ...  # your code


# %%
one_hot = kd.exercise("01.one_hot").check(one_hot)

# %% [markdown]
# How far is the student from such a target? The usual loss, the cross-entropy with a label, reads one number of each row: the logarithm of the
# probability of the right class. With a soft target it reads all of them:
#
# $$H(t, q) = -\frac{1}{N}\sum_{n=1}^{N} \sum_{c=1}^{C} t_{nc} \log q_{nc}, \qquad q = \mathrm{softmax}(z)$$
#
# $t$ are the targets, hard or soft, and $q$ the student's probabilities, both of shape (N, C); $z$ are now the student's logits, (N, C). It
# is a sum over classes and a mean over the pictures of the batch. $H$ is one number, in **nats** (the unit of a natural logarithm).

# %%
kd.exercise("01.soft_cross_entropy")


# %% tags=["exercise"] exercise="01.soft_cross_entropy"
def soft_cross_entropy(logits, targets):
    """Logits (N, C) and target probabilities (N, C) -> scalar, in nats."""
    ...  # your code


# %%
soft_cross_entropy = kd.exercise("01.soft_cross_entropy").check(soft_cross_entropy)

# %% [markdown]
# On one-hot targets, your function must be the cross-entropy that PyTorch has:

# %%
logits, labels = teacher_logits[:100], data.test.labels[:100]
ours = soft_cross_entropy(logits, one_hot(labels, len(data.classes)))
torch.testing.assert_close(ours, F.cross_entropy(logits, labels), check_dtype=False)

# %% [markdown]
# ## See what the teacher finds similar
#
# Do the teacher's small probabilities mean anything? For each class, we add up over its training pictures the probability that the teacher
# gives to each *other* class. This row says what that class is hard to tell apart from, for the teacher. Nobody told it: a label names one
# class, and what a network finds similar need not be what people find similar.
#
# If two classes really look alike, a network that never met the teacher should mix them up, too. So beside the teacher's table
# stands the **confusion matrix** of a small network that has learnt from labels alone: how often it took test pictures of one
# class (row) for another (column). Each cell is its share of the whole table, in percent; the diagonal is left out. Compare the
# bright cells of both tables.
#
# Below the figure they are compared by their **rank correlation**: 1 if all pairs of classes have the same order in both tables, 0
# if the orders have nothing to do with each other.

# %%
train_soft = (cache.logits(data.train) / 2).softmax(dim=1)
reminds = torch.stack(
    [train_soft[data.train.labels == label].sum(dim=0) for label in range(len(data.classes))]
)
stranger = kd.Recipe(
    partial(kd.models.perceptron, (64,), **data.sizes), data.train, steps=600
).run(seed=0)
confuses = kd.measure.confusion(stranger, data.test).float()


# %%
def most_alike(table):
    """The two classes with the largest entries, in both directions together."""
    return named(divmod((table + table.T).argmax().item(), len(data.classes)))


off_diagonal = ~torch.eye(len(data.classes), dtype=torch.bool)
hints, mistakes = reminds.cpu() * off_diagonal, confuses.cpu() * off_diagonal
tables = kd.plots.two_similarities(
    reminds,
    confuses,
    data.classes,
    titles=("the teacher's doubt", "another network's mistakes"),
)
alike.answer(most_alike(hints) if most_alike(hints) in offered else "another pair", on=tables)

# %%
from scipy.stats import spearmanr

agreement = spearmanr(hints[off_diagonal], mistakes[off_diagonal]).statistic
assert agreement > 0.3

# %%
kd.say(
    f"Over all pairs of classes, the rank correlation of the two tables is **{agreement:.2f}**. The teacher doubts most between "
    f"**{kd.verbatim(most_alike(hints))}**; the other network mixes up most **{kd.verbatim(most_alike(mistakes))}**."
)

# %% [markdown]
# ## Measure: a student with 1,000 pictures
#
# Now to what soft targets are worth. The student is a perceptron with 64 hidden units. It gets 1,000 pictures, other ones for each seed, and
# one of three kinds of target $t$ in the cross-entropy above. Each answers a question.
#
# **Hard: what do labels alone achieve?** $t_{nc} = 1$ if $c = y_n$, 0 otherwise. This is the **baseline**, with which the others are compared.
#
# **Smoothed: is it enough that the target is less sure, with no teacher?** Label smoothing takes the same share $\varepsilon$ of every picture's
# probability and gives it to all C classes in equal parts. It is the cheapest **rival** of a soft target, that is, the cheapest other
# explanation of its gain:
#
# $$t_{nc} = (1 - \varepsilon) \, [c = y_n] + \frac{\varepsilon}{C}$$
#
# $[c = y_n]$ is 1 if class $c$ is the label of picture $n$ and 0 otherwise; $\varepsilon$ is a number from 0 to 1. We try two: 0.1, and the
# one that makes the target as unsure, on average, as the teacher is. Validation data, which neither train nor test, choose between them.
#
# **Soft: what does the teacher add?** $t_{nc} = p_{nc}$, the teacher's probabilities at $T = 2$:
#
# $$p_{nc} = \frac{\exp(z_{nc} / T)}{\sum_{k=1}^{C} \exp(z_{nk} / T)}$$
#
# with the teacher's logits $z$, (N, C). Here the student's probabilities are taken at $T = 2$, too, and the loss is multiplied by T²; lab 02
# says why.
#
# First weights, pictures, order and steps are the same in all arms. One thing differs beside the targets: the teacher has learnt from all the
# training labels, and some of that is in its answers. **Predict**: what does smoothing bring over hard labels?

# %%
smoothing = kd.predict(
    "01.smoothing",
    "Smoothed labels, the strength that is better on validation data, against hard ones: what do they do?",
    options=["they help", "they hurt", "no clear difference"],
)
smoothing

# %%
hard = kd.Recipe(
    partial(kd.models.perceptron, (64,), **data.sizes),
    lambda seed: data.train.sample(1000, seed),
    steps=600,
)
soft_targets = replace(hard, method=kd.SoftTarget(temperature=2), teacher=cache)

classes = len(data.classes)
doubt_share = 1 - train_soft.max(dim=1).values.mean().item()
smoothings = {
    "smoothed a little": kd.methods.LabelSmoothing(0.1),
    "smoothed as the teacher": kd.methods.LabelSmoothing(
        doubt_share * classes / (classes - 1)
    ),
}
smoothed = {name: replace(hard, method=method) for name, method in smoothings.items()}

outcome = kd.compare(
    {"hard": hard, **smoothed, "soft": soft_targets}, data, seeds=5, ledger="01-hard-and-soft"
)
outcome.table()

# %% [markdown]
# In the table, *mean* is the test accuracy in percent and ± half the width of its own 95 % interval. *Difference* is each arm
# less the baseline, paired by seed, with its 95 % interval. **Holm** is the verdict after Holm's correction, which asks more of
# each comparison because there are several. The figure shows the same differences.

# %%
rival = outcome.best(among=smoothings)
found = {"helps": "they help", "hurts": "they hurt"}
smoothing.answer(
    found.get(outcome.difference(rival).verdict, "no clear difference"), on=outcome.figure()
)

# %%
kd.claim(
    "Soft targets beat hard ones at 1,000 pictures", outcome.difference("soft"), at_least=1
)
kd.claim(f"They beat labels {rival}, too", outcome.difference("soft", rival))

# %% [markdown]
# Hinton, Vinyals and Dean (2015, §3) found that soft targets help on MNIST, with a larger student and all 60,000 pictures. These are the
# numbers of wrong answers on its 10,000 test pictures:
#
# | | their figure |
# |---|---|
# | teacher, 2 × 1200 units with dropout | 67 |
# | student, 2 × 800 units, hard targets | 146 |
# | same student, soft targets, T = 20 | 74 |
#
# Their student had enough labels, but too little regularisation. Ours is short of labels. Why does a soft target help ours?
#
# ## When it does not help: find the confound
#
# The usual answer is dark knowledge: the small probabilities say which wrong classes are less wrong. The usual proof shuffles
# them. The winner keeps its place and its probability; the other nine numbers of each picture are given to the wrong classes in a
# random order. If the student gets worse, the similarities must have been worth that much. But what else does a shuffle change?
# Each picture gets another order, so two pictures of one class no longer agree: the shuffle also adds *noise* to the targets. It
# is a **confound**, a second change that could explain the result.
#
# A ladder of targets takes the teacher's answer apart, one piece at a time. $p$ is the teacher's answer at $T = 2$, (N, C), and $w_n$ the
# class with the largest $p_{nc}$, the winner. Each rung asks one question:
#
# | arm | target $t_{nc}$ for picture $n$, class $c$ | question: what is this worth? |
# |---|---|---|
# | hard | 1 if $c = y_n$, else 0 | labels alone |
# | winner only | 1 if $c = w_n$, else 0 | the teacher's decision, made after 55,000 labels |
# | even tail | $p_{nw_n}$ if $c = w_n$, else $(1 - p_{nw_n}) / (C - 1)$ | how sure the teacher is, picture by picture |
# | soft | $p_{nc}$ | which wrong classes are less wrong |
# | shuffled tail | $p_{nw_n}$ if $c = w_n$, else the other $p_{nk}$ in random order | nothing new: it loses the meaning and adds noise |
#
# The *tail* of a distribution is all but the winner. Smoothing is not on this ladder: it is equally unsure of every picture, while the even tail is
# as unsure of each picture as the teacher is. In all arms but *hard* the student's probabilities are taken at $T = 2$.
#
# Even and shuffled tail have the same confidence in the winner, and no similarity. **Predict**: do these two arms end alike?

# %%
tails = kd.predict(
    "01.tails",
    "The even tail and the shuffled tail: which ends higher?",
    options=["the even tail", "the shuffled tail", "no clear difference"],
)
tails


# %%
class Rewritten(nn.Module):
    """A teacher whose softened answers are rewritten before the student hears them."""

    def __init__(self, teacher, rewrite):
        super().__init__()
        self.teacher, self.rewrite = teacher, rewrite

    def forward(self, images):
        p = (self.teacher(images) / 2).softmax(dim=1)
        winner = p.argmax(dim=1, keepdim=True)
        numbers = torch.arange(p.shape[1] - 1, device=p.device)
        others = numbers + (numbers >= winner)  # (N, C − 1): the classes that do not win
        # Logits whose softmax at T = 2 is the rewritten answer.
        return 2 * self.rewrite(p, winner, others).clamp_min(1e-6).log()


def winner_only(p, winner, others):
    return torch.zeros_like(p).scatter(1, winner, 1.0)


def even_tail(p, winner, others):
    return p.scatter(
        1, others, p.gather(1, others).mean(dim=1, keepdim=True).expand_as(others)
    )


def shuffled_tail(p, winner, others):
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(others.shape, generator=generator).argsort(dim=1).to(p.device)
    return p.scatter(1, others, p.gather(1, others).gather(1, order))


# %%
def taught_by(rewrite):
    return replace(soft_targets, teacher=kd.TeacherCache(Rewritten(teacher, rewrite)))


ladder = kd.compare(
    {
        "hard": hard,
        "winner only": taught_by(winner_only),
        "even tail": taught_by(even_tail),
        "soft": soft_targets,
        "shuffled tail": taught_by(shuffled_tail),
    },
    data,
    seeds=5,
    ledger="01-ladder",
)

# %%
noise = ladder.difference("even tail", "shuffled tail")
higher = {"helps": "the even tail", "hurts": "the shuffled tail"}
tails.answer(higher.get(noise.verdict, "no clear difference"), on=ladder.figure())

# %%
import pandas as pd

rungs = {
    "all of it: soft, not hard": ("soft", "hard"),
    "the teacher's decisions: winner only, not hard": ("winner only", "hard"),
    "how sure it is: even tail, not winner only": ("even tail", "winner only"),
    "which wrong classes: soft, not even tail": ("soft", "even tail"),
    "what the shuffle was taken to show: soft, not shuffled": ("soft", "shuffled tail"),
    "noise alone: even tail, not shuffled": ("even tail", "shuffled tail"),
}
found = {what: ladder.difference(*arms) for what, arms in rungs.items()}
pd.DataFrame(
    {what: [str(one), one.verdict] for what, one in found.items()}, ["worth", "verdict"]
).T

# %%
whole, decisions, sureness, similarity, believed, noise = found.values()
assert believed.mean > similarity.mean or noise.verdict != "helps"
kd.say(
    f"The shuffle says that the similarities are worth {believed}. But {noise} of that is the price of noise. Against an even tail, "
    f"which has the same confidence and adds no noise, the similarities bring {similarity}: **{similarity.verdict}**. All of the "
    f"teacher's answer brings {whole}, its decisions alone {decisions} (**{decisions.verdict}**), its confidence on top of them "
    f"{sureness} (**{sureness.verdict}**)."
)

# %% [markdown]
# How much each part is worth depends on the data. The same ladder is stored for Fashion-MNIST and for the *glyphs*, the course's
# built-in pictures of letters and digits, which come in two families of look-alikes. On Fashion-MNIST the teacher's confidence
# and its similarities each help. On the glyphs the even tail ends below the winner alone, for it spreads the doubt over classes
# that do not look alike, and the similarities are what is worth having. Two papers took soft targets apart in this way:
# Furlanello et al. (2018) permuted the tail and weighted labels by the teacher's confidence; Tang et al. (2020) name three parts,
# smoothing, similarity and the difficulty of each picture.
#
# A **control** is an arm that should differ from another in one thing only. If it changes two things at once, it proves neither. Ask of
# every control: *what else did it change?*
#
# ## Recap
#
# - A one-hot label says what a picture is. A soft label also says how sure the teacher is, and of what else.
# - The teacher's small probabilities agree with the mistakes of a network that never met the teacher: they carry meaning.
# - With few labels soft targets gain accuracy, and more than label smoothing does, their cheapest rival.
# - How much of that is similarity has to be measured against an even tail. Shuffling adds noise, too, and so makes the
#   similarities look worth more than they are.
#
# ### Check yourself

# %%
quiz = kd.quiz("01")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Choose the strength of label smoothing on validation data, from 0.02 to 0.4. Does it ever beat hard labels here?
# - Give the student 300 pictures, then 10,000. Where does the gap close?
# - Use `kd.zoo.teacher("convnet", data)`: a stronger teacher of another architecture. Does it teach this student better?
#
# **At full size** (a GPU): all pictures and a student of two layers of 800 units come near to the setting of Hinton et al. (2015,
# §3), who give theirs a temperature of 20 and the pictures of MNIST.

# %%
full = kd.at_full_size(
    {"hard": hard, "soft": soft_targets},
    data,
    seeds=5,
    student=partial(kd.models.perceptron, (800, 800), **data.sizes),
    train=data.train,
    steps=3000,
)

# %% [markdown]
# ### Read further
#
# - Hinton, Vinyals, Dean (2015), *Distilling the Knowledge in a Neural Network*, §2–3: the source of soft targets.
# - Müller, Kornblith, Hinton (2019), *When Does Label Smoothing Help?*, §4: why a smoothed teacher teaches worse.
# - Yuan et al. (2020), *Revisiting Knowledge Distillation via Label Smoothing Regularization*: the case for "it is only smoothing".
# - Tang et al. (2020), *Understanding and Improving Knowledge Distillation*; Furlanello et al. (2018), *Born-Again Neural Networks*, §4.
