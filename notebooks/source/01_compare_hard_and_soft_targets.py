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
# A label names one class and is silent about the other nine. A teacher's answer is a whole distribution. In this lab you
# see what the teacher adds, check that it means what you think it means, and measure what it is worth.
#
# **You will** look at one-hot and soft labels of the same pictures, write both by hand, and train students on each.
# **You will learn** what *dark knowledge* is and why it helps when labels are few.
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
# The teacher has never seen the test pictures below. Its ten numbers for each of them, softened a little (lab 02 says how),
# stand beside the one-hot label. We let it choose the pictures itself: for each of four classes, the one that it
# gets right and is least sure about.

# %%
cache = kd.TeacherCache(teacher)
teacher_logits = cache.logits(data.test)
soft = (teacher_logits / 2).softmax(dim=1)  # (10,000, 10)
right = teacher_logits.argmax(dim=1) == data.test.labels

doubt = torch.where(
    right, -soft.max(dim=1).values, -torch.inf
)  # high where the teacher is right but unsure
unsure = [
    (doubt + torch.where(data.test.labels == label, 0, -torch.inf)).argmax()
    for label in range(0, 8, 2)
]
unsure = torch.stack(unsure)

# %%
kd.plots.soft_labels(
    data.pictures(data.test.images[unsure]),
    soft[unsure],
    data.classes,
    labels=data.test.labels[unsure],
)

# %% [markdown]
# **Predict** before you go on: which two classes does the teacher find most alike? Write them down.
#
# ## Turn through the pictures
#
# Drag the slider (or use the arrow keys) through the hundred pictures on which the teacher hesitates most.

# %%
hardest = doubt.argsort(descending=True)[:100]


def draw(rank):
    chosen = hardest[rank : rank + 1]
    pictures = data.pictures(data.test.images[chosen])
    return kd.plots.soft_labels(
        pictures, soft[chosen], data.classes, labels=data.test.labels[chosen]
    )


# %%
import ipywidgets as widgets

browser = kd.widgets.live(
    draw, rank=widgets.IntSlider(0, min=0, max=99, description="picture")
)
browser

# %% tags=["widget-test"]
for rank in (0, 50, 99):
    browser.move(rank=rank)
    assert data.classes[data.test.labels[hardest[rank]]] in browser.description

# %% [markdown]
# ## Write both kinds of target by hand

# %%
kd.exercise("01.one_hot")


# %% tags=["exercise"] exercise="01.one_hot"
def one_hot(labels, classes):
    """(N,) int64 -> (N, classes) float32, a single 1 in each row."""
    ...  # your code


# %%
one_hot = kd.exercise("01.one_hot").check(one_hot)

# %% [markdown]
# With one-hot targets, cross-entropy reads the logarithm of a single probability. With soft targets it reads all of them:
#
# $$H(p, q) = -\frac{1}{N}\sum_n \sum_c p_{nc} \log q_{nc}$$
#
# where $p$ are the targets and $q = \mathrm{softmax}(\text{logits})$.

# %%
kd.exercise("01.soft_cross_entropy")


# %% tags=["exercise"] exercise="01.soft_cross_entropy"
def soft_cross_entropy(logits, targets):
    """Logits (N, C) and target probabilities (N, C) -> scalar, in nats."""
    ...  # your code


# %%
soft_cross_entropy = kd.exercise("01.soft_cross_entropy").check(soft_cross_entropy)

# %% [markdown]
# The two agree where they must: on one-hot targets, your function is the cross-entropy you know.

# %%
logits, labels = teacher_logits[:100], data.test.labels[:100]
ours = soft_cross_entropy(logits, one_hot(labels, len(data.classes)))
torch.testing.assert_close(ours, F.cross_entropy(logits, labels))

# %% [markdown]
# ## See what the teacher finds similar
#
# Average the soft labels of all training pictures of a class, and leave out the class itself: that row says what the class
# reminds the teacher of. Beside it stands the teacher's confusion matrix on test pictures: what it really mixes up.

# %%
train_soft = (cache.logits(data.train) / 2).softmax(dim=1)
reminds = torch.stack(
    [train_soft[data.train.labels == label].mean(dim=0) for label in range(len(data.classes))]
)
confuses = kd.measure.confusion(teacher_logits, data.test).float()

kd.plots.two_similarities(
    reminds, confuses, data.classes, titles=("mean soft label", "confusions on test")
)

# %%
from scipy.stats import spearmanr

off_diagonal = ~torch.eye(len(data.classes), dtype=torch.bool)
hints, mistakes = (
    F.normalize(table.cpu() * off_diagonal, p=1, dim=1) for table in (reminds, confuses)
)
agreement = spearmanr(hints[off_diagonal], mistakes[off_diagonal]).statistic
pair = (hints + hints.T).argmax().item()
one, other = data.classes[pair // len(data.classes)], data.classes[pair % len(data.classes)]
assert agreement > 0.3

kd.say(
    f"The rank correlation of the two pictures, diagonals left out, is **{agreement:.2f}**: what the teacher hints at in "
    f"its soft labels is what it mixes up on pictures that it has never seen. Most alike to it are **{one}** and "
    f"**{other}**. Was that your guess?"
)

# %% [markdown]
# ## Measure: a student with 1,000 pictures
#
# The student is a perceptron with 64 hidden units. It gets 1,000 pictures, other ones for each seed, and one of two kinds of
# target: the label, or the teacher's probabilities at temperature 2. Weights, pictures, order and budget are the same in both arms.

# %%
hard = kd.Recipe(
    partial(kd.models.perceptron, (64,)), lambda seed: data.train.sample(1000, seed), steps=600
)
soft_targets = replace(hard, method=kd.SoftTarget(temperature=2), teacher=cache)

outcome = kd.compare(
    {"hard": hard, "soft": soft_targets}, data, seeds=5, ledger="01-hard-and-soft"
)
outcome.table()

# %%
outcome.figure()

# %%
kd.claim(
    "Soft targets beat hard ones at 1,000 pictures", outcome.difference("soft"), at_least=1.5
)

# %% [markdown]
# Hinton, Vinyals and Dean (2015, §3) saw the same on MNIST, with a larger student and all 60,000 pictures. Errors on the 10,000
# test pictures:
#
# | | their figure |
# |---|---|
# | teacher, 2 × 1200 units with dropout | 67 |
# | student, 2 × 800 units, hard targets | 146 |
# | same student, soft targets, T = 20 | 74 |
#
# Their student is short of regularisation and ours is short of labels: a soft target answers both, because it says more
# about each picture.
#
# ## When it does not help: the same numbers in the wrong places
#
# Is it the *similarities* that teach, or only that the targets are less sure? We take the same soft targets and shuffle
# the nine wrong classes of each picture. The winner keeps its place and the confidence stays exactly what it was; only
# the meaning of the rest is gone.
#
# **Predict**: does the shuffled teacher still beat the labels?


# %%
class Shuffled(nn.Module):
    """A teacher whose opinions on the wrong classes are dealt out anew for each picture."""

    def __init__(self, teacher, seed=0):
        super().__init__()
        self.teacher, self.seed = teacher, seed

    def forward(self, images):
        logits = self.teacher(images).cpu()
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.rand(logits.shape, generator=generator).argsort(dim=1)
        shuffled = logits.gather(1, order)
        # Swap so that the winner stands where it stood.
        winner, now = logits.argmax(dim=1, keepdim=True), shuffled.argmax(dim=1, keepdim=True)
        loser = shuffled.gather(1, winner)
        top = shuffled.gather(1, now)
        return shuffled.scatter(1, now, loser).scatter(1, winner, top).to(images.device)


# %%
shuffled = replace(soft_targets, teacher=kd.TeacherCache(Shuffled(teacher)))
meaning = kd.compare(
    {"hard": hard, "soft": soft_targets, "soft, shuffled": shuffled},
    data,
    seeds=5,
    ledger="01-shuffled",
)
meaning.figure()

# %%
kept, lost = meaning.difference("soft, shuffled"), meaning.difference("soft", "soft, shuffled")
kd.claim("The places of the small numbers matter", lost)
kd.say(
    f"Against hard targets, shuffled soft targets bring {kept}: **{kept.verdict}**. Putting the similarities back is worth "
    f"{lost}. The knowledge is in *which* wrong answers are less wrong."
)

# %% [markdown]
# ## Recap
#
# - A one-hot label says what a picture is. A soft label also says what it nearly is.
# - The teacher's small probabilities agree with its confusions: they carry meaning, not noise.
# - With few labels that meaning is worth points; shuffled, it is worth far less.
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
# - Replace the teacher's probabilities by *label smoothing*: 0.9 for the label, the rest spread evenly. Which arm is it closest to?
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
    student=partial(kd.models.perceptron, (800, 800)),
    train=data.train,
    steps=3000,
)

# %% [markdown]
# ### Read further
#
# - Hinton, Vinyals, Dean (2015), *Distilling the Knowledge in a Neural Network*, §2–3: the source of soft targets.
# - Müller, Kornblith, Hinton (2019), *When Does Label Smoothing Help?*, §4: why a smoothed teacher teaches worse.
# - Yuan et al. (2020), *Revisiting Knowledge Distillation via Label Smoothing Regularization*: the case for "it is only smoothing".
