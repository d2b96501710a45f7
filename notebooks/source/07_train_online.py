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
# # Train online
#
# So far a trained teacher was there before the student came. What if there is none? *Online distillation* trains several networks
# together and lets them teach each other. Two students can be each other's teacher; a teacher and its student can start at the same
# moment; and a trained student can become the teacher of the next one.
#
# **You will** write the loss of one peer and a training step for two, train peers with the course's loop, and train generations.
# **You will learn** why two untrained networks can help each other at all, and how to tell that gain from the gain of more training
# and of softer labels.
# **You need** labs 03 and 06. **Time:** 55 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace

import torch

data = kd.load_images()

# %% [markdown]
# ## Three ways without a trained teacher
#
# | scheme | who teaches whom | when | what is trained |
# |---|---|---|---|
# | peers (deep mutual learning) | every student teaches every other one | at each step | as many networks as there are peers |
# | together | a larger network teaches a smaller one | at each step, while it learns itself | both networks; each step of the larger one costs more |
# | generations (born again) | a trained student teaches the next one, built alike | one after another | each generation from new first weights |
#
# This lab measures all three. We begin with peers.
#
# ## Why should two beginners help each other?
#
# A *peer* is a student that learns at the same time as others, from the labels and from their current answers. No peer knows more
# than another. There are three reasons why they may help each other all the same (Zhang et al. 2018):
#
# 1. **Peers start differently, so they err differently.** Each has its own random first weights, and is unsure of other pictures.
# 2. **A soft answer says more than a label:** which other classes are possible for a picture, and how sure the peer is.
# 3. **A peer is a weak teacher that grows.** It improves with every step, and is never far ahead of the one it teaches.
#
# Zhang et al. also claim that peers end in wider minima: at their weights the training loss rises less when noise is added to
# them. This lab does not measure that. It measures accuracy, how often peers agree, and which simpler explanations bring the same
# gain.
#
# ## Write one peer's loss
#
# **What should one peer minimise?** The cross-entropy with the labels, as every student does, plus the distance of its
# answer from those of the others:
#
# $$L_k = \mathrm{CE}(q_k, y) + \frac{1}{K-1}\sum_{j \ne k} \mathrm{KL}\left(\mathrm{sg}(q_j) \,\|\, q_k\right)$$
#
# $$q_k = \mathrm{softmax}(z_k)$$
#
# - $K$ is the number of peers, and $k$ the number of the one whose loss this is; $j$ runs over all the others.
# - $z_k$ are the logits of peer $k$ (its outputs before the softmax), of shape (N, C) for N pictures and C classes. $q_k$ are its
#   probabilities, of the same shape. There is no temperature, as in the paper: T = 1.
# - $y$ are the labels, of shape (N,). $\mathrm{CE}(q_k, y)$ is the mean over the pictures of $-\log q_k(y)$.
# - $\mathrm{KL}(p \,\|\, q) = \sum_c p(c) \log \frac{p(c)}{q(c)}$, summed over the classes $c$ and averaged over the pictures. It
#   is 0 where both say the same.
# - $\mathrm{sg}$ is the *stop-gradient*, `.detach()` in PyTorch: its value is that of its argument, and no gradient passes
#   through it.
#
# So peer $j$ is a constant in $L_k$. It is moved by a loss of its own, $L_j$, in which peer $k$ is the constant.

# %%
kd.exercise("07.peer_loss")


# %% tags=["exercise"] exercise="07.peer_loss"
def peer_loss(own_logits, other_logits, labels):
    """Logits (N, C), (N, C), labels (N,) -> scalar; the other peer must not move."""
    ...  # your code


# %%
peer_loss = kd.exercise("07.peer_loss").check(peer_loss)

# %% [markdown]
# The training loop takes peers as one model with logits of shape (N, K, C) and minimises the sum of all $L_k$. Each loss holds
# the other peers constant, so each peer gets the gradient of its own loss. The next cell checks this with your function.

# %%
first, second = (
    kd.models.perceptron((16,), **data.sizes, seed=seed).to(data.train.device)
    for seed in (0, 1)
)
few = data.train.take(torch.arange(64))

peer_loss(first(few.images), second(few.images), few.labels).backward()
by_hand = first.classifier.weight.grad.clone()

first.zero_grad()
peers = kd.schemes.Peers([first, second])
batch = kd.methods.Batch(peers(few.images), labels=few.labels)
kd.schemes.MutualLearning()(batch).backward()
torch.testing.assert_close(first.classifier.weight.grad, by_hand)

# %% [markdown]
# ## Write a step for both
#
# In which order do two peers answer and learn? Both answer the same mini-batch. Each loss uses these two answers. Only then are
# both peers updated. If the first were updated before the second asks it, the second would learn from a network that has seen
# this mini-batch already.

# %%
kd.exercise("07.online_step")


# %% tags=["exercise"] exercise="07.online_step"
def online_step(first, second, images, labels, optimizers):
    """Two peers, a batch (N, ...), (N,), an optimiser for each -> their losses; both are updated once."""
    ...  # your code


# %%
online_step = kd.exercise("07.online_step").check(online_step)

# %% [markdown]
# Now train two peers with your step, from random first weights: 300 steps on 1,000 labelled pictures. The sentence below the cell
# says how often both give the same answer to 1,000 held-out pictures, before and after.

# %%
two = [
    kd.models.perceptron((64,), **data.sizes, seed=seed).to(data.train.device)
    for seed in (0, 1)
]
optimizers = [torch.optim.AdamW(one.parameters(), lr=3e-3) for one in two]
pictures, unseen = data.train.sample(1000, seed=0), data.validation.sample(1000, seed=0)
at_first = kd.measure.agreement(*two, unseen)
draw = torch.Generator().manual_seed(0)
for _ in range(300):
    few = pictures.take(torch.randint(1000, (32,), generator=draw))
    losses = online_step(*two, few.images, few.labels, optimizers)

# %%
kd.say(
    f"The two give the same answer to {kd.measure.agreement(*two, unseen):.1f} % of 1,000 validation pictures; before the first step it was "
    f"{at_first:.1f} %. Right are {' and '.join(f'{kd.measure.accuracy(one, unseen):.1f}' for one in two)} %; the last losses are "
    f"{' and '.join(f'{torch.as_tensor(loss).item():.2f}' for loss in losses)}."
)

# %% [markdown]
# ## Watch peers agree
#
# **How much of their agreement do peers owe to each other?** Networks that learn from the same pictures agree more and more even
# if they never hear of each other. So the *control*, which differs in one thing only, is a pair of *strangers*: the same two
# small convolutional networks with the same first weights and the same 1,000 labelled pictures in the same mini-batches, but with
# a weight of 0 on the KL term.
#
# **Predict**: by how many percentage points do peers agree more often on the test pictures than strangers?

# %%
talk = kd.predict(
    "07.agreement",
    "Peers give the same answer more often than strangers, by how many points?",
    between=(-5, 15),
    unit="points",
)
talk

# %%
pairs = kd.study("07-peers", data)
again = pairs.run("two strangers", "two peers", seeds=2)


def agree(pair, split):
    return kd.measure.agreement(*pair.members, split)


agreement = again.evaluated_by(agree, data)
agreement.scores.round(1)

# %% [markdown]
# The table has a row for each *seed*, the number that fixes everything random in a run. Two seeds are few. Five are stored in a
# *ledger*, a file of scores (`kdcourse results 07` repeats it). The sentence gives the mean of their *paired* differences, taken
# seed by seed, and in brackets its 95 % *interval*.

# %%
stored_agreement = pairs.stored("-agreement")
more = stored_agreement.difference("two peers")
means = stored_agreement.scores.mean()
kd.say(
    f"Peers give the same answer to **{means['two peers']:.1f} %** of the test pictures, "
    f"strangers to **{means['two strangers']:.1f} %**. The talk accounts for {more} "
    f"({'clearly more' if more.low > 0 else 'no clear difference'}); the rest comes from the same pictures and labels."
)
talk.answer(more.mean)

# %% [markdown]
# What do peers tell each other? The figure shows both peers' probabilities for one test picture. Their *entropy* is 0 for a sure
# answer and larger for one that is spread over several classes. The slider goes through the pictures on which the two differ
# most.

# %%
together = again.students["two peers"][0]
answers = [kd.measure.predict(one, data.test).softmax(dim=1) for one in together.members]
apart_most = (answers[0] - answers[1]).abs().sum(dim=1).argsort(descending=True)


def listen(rank):
    number = apart_most[rank].item()
    rows = {"first peer": answers[0][number], "second peer": answers[1][number]}
    return kd.plots.distributions(rows, data.classes)


# %%
import ipywidgets as widgets

listener = kd.widgets.live(
    listen, rank=widgets.IntSlider(0, min=0, max=200, description="picture")
)
listener

# %% tags=["widget-test"]
with listener.restored():
    for rank in (0, 100, 200):
        listener.move(rank=rank)
        assert "first peer: most likely" in listener.description

# %% [markdown]
# ## Train generations
#
# **Can a student teach a copy of itself?** In *born-again* training (Furlanello et al. 2018) the first network learns from the
# labels. The second one has the same architecture and new first weights; it learns from the labels and from the first. A third
# may learn from the second, and so on. With $L_g$ for the loss of generation $g$, for $g \ge 2$, as this lab's arms use it:
#
# $$L_1 = \mathrm{CE}(q_1, y)$$
#
# $$L_g = \alpha\, T^2\, \mathrm{KL}\left(q_{g-1}^{T} \,\|\, q_g^{T}\right) + (1 - \alpha)\, \mathrm{CE}(q_g, y)$$
#
# - $q_g$ are the probabilities of generation $g$, of shape (N, C), and $q_g^{T} = \mathrm{softmax}(z_g / T)$ are those softened
#   at temperature $T$; $z_g$ are its logits. Here $T = 4$.
# - $\alpha$ is the share of the teacher in the loss and $1 - \alpha$ that of the labels $y$. Here $\alpha = 0.5$.
# - Generation $g - 1$ is trained and frozen before generation $g$ starts, so there is nothing to stop a gradient for.
#
# You write the loop over the generations; the loss is the one of lab 03.

# %%
kd.exercise("07.born_again")


# %% tags=["exercise"] exercise="07.born_again"
def born_again(nets, train):
    """Untrained nets, and train(student, teacher), teacher None for labels only -> the last generation."""
    ...  # your code


# %%
born_again = kd.exercise("07.born_again").check(born_again)

# %% [markdown]
# Train two generations with your function. Each is a small convolutional network. The sentence below gives the test accuracy of
# both.

# %%
online = kd.study("07-online", data)
alone, taught = online.recipes["born again"].stages


def raise_one(student, teacher):
    stage = alone if teacher is None else replace(taught, teacher=kd.TeacherCache(teacher))
    replace(stage, student=lambda seed: student).run(seed=0)


older, younger = (alone.student(seed=seed) for seed in (1000, 0))
grown = kd.measure.accuracy(born_again([older, younger], raise_one), data.test)

# %%
kd.say(
    f"First generation {kd.measure.accuracy(older, data.test):.1f} %, second {grown:.1f} %."
)

# %% [markdown]
# ## Measure, with the cost beside each
#
# **Is the gain worth a second network?** A scheme that trains two networks, or one network twice, costs twice as much; a larger
# teacher costs more still. So each scheme has a *rival*, something simpler that could explain the same gain: the student alone
# with two and three times the *budget* (the pictures that its steps see), and the student with twice the budget and smoothed
# labels, where a tenth of each label is spread over all classes. No rival needs a second network.
#
# A row of the table is an *arm*, one of the *recipes* (full descriptions of a training) that are compared. *Arithmetic*
# counts the multiplications of a whole run, as a multiple of the first arm's. The accuracy of peers is the mean over the
# peers; *±* is half the width of the mean's 95 % interval. The *verdict* says whether the interval of the paired difference
# lies above zero (helps), below (hurts), or around it. *Holm* is the verdict once it is allowed for that many arms are
# compared; where it says less than the verdict, the gain may be luck. *With its teacher* and *after its teacher* have a
# larger teacher, and are explained below the table. Five seeds are stored; *born again* at seed 0 is what you have just
# trained. The figure shows the same seed by seed.

# %%
stored = online.stored()
assert not online.kept or abs(stored.scores.loc[0, "born again"] - grown) < 2
stored.table()

# %%
stored.figure()

# %% [markdown]
# The arms differ in more than the scheme. This table lists everything else that differs between them:

# %%
stored.differs()


# %%
def found(arm, baseline="alone"):
    gap = stored.difference(arm, baseline)
    return f"- {arm}, against {baseline}: {gap}, **{gap.verdict}**\n"


# %%
holm = stored.table()["Holm"]
corrected = [arm for arm in holm.index if holm[arm] == "helps"]
kd.say(
    "What more training alone brings:\n\n"
    + found("alone, budget × 2")
    + found("alone, budget × 3")
    + "\nTwo networks, against the student alone and against rivals of equal arithmetic:\n\n"
    + found("two peers")
    + found("two peers", "alone, budget × 2")
    + found("two peers", "smoothed, budget × 2")
    + found("two peers", "born again")
    + "\nThree networks:\n\n"
    + found("three peers", "alone, budget × 3")
    + found("three peers", "two peers")
    + found("born again, twice", "born again")
    + f"\nAgainst *alone*, allowing for several comparisons (Holm), what helps is: {', '.join(corrected) or 'nothing'}."
)

# %% [markdown]
# **And a larger teacher that learns at the same time?** In the arm *with its teacher* the first network is larger. It learns from
# the labels alone, and the student learns from the labels and from the teacher's current answer:
#
# $$L = \mathrm{CE}(p, y) + (1 - \alpha)\, \mathrm{CE}(q, y) + \alpha\, T^2\, \mathrm{KL}\left(\mathrm{sg}(p^{T}) \,\|\, q^{T}\right)$$
#
# - $p$ and $q$ are the probabilities of the teacher and of the student, of shape (N, C); with $T$ above they are softened at
#   temperature $T = 4$. $\alpha = 0.5$ is the share of the teacher in the student's loss.
# - $\mathrm{sg}$ is the stop-gradient again: the student cannot move its teacher.
#
# In *after its teacher* the same larger network is trained first and then frozen, as in all labs before.

# %%
times = (
    stored.facts["with its teacher"].multiply_adds / stored.facts["two peers"].multiply_adds
)
kd.say(
    "What a student brings that learns together with a larger teacher. Both see as many pictures as two peers, and "
    f"take {times:.1f} times the arithmetic:\n\n"
    + found("with its teacher", "two peers")
    + found("with its teacher", "after its teacher")
)

# %% [markdown]
# ### Beside the published figures
#
# | | alone | with the scheme | setting |
# |---|---|---|---|
# | mutual learning | 68.99 | 71.19 and 70.75 | a pair of ResNet-32 on CIFAR-100, Zhang et al. 2018 |
#
# The numbers are test accuracies in percent, one for each peer. Zhang et al. train on 50,000 labelled colour pictures for 200
# epochs. Their comparison gives each of the two peers as many epochs as the student alone, and so the pair has twice the total
# budget of the student.
#
# ## Why do peers help?
#
# **What is it in a peer's answer that helps?** It contains several things at once. Each explanation below has a rival of its own,
# a pair with the same arithmetic, pictures and mini-batches:
#
# | if the gain comes from | then this rival gains as much |
# |---|---|
# | softer targets | label smoothing: a tenth of each label is spread over all classes |
# | how hard a picture is | peers that hear only how likely the other finds the labelled class; the rest is spread evenly |
# | two votes | two strangers whose answers are averaged; but then both networks have to run in use |
# | what the other says of the wrong classes | none of these |
#
# The second rival, *told only how sure*, in symbols: for a picture with label $y$ let $p$, of shape (C,), be what the other peer
# says. This one hears $\tilde p$ instead, of the same shape:
#
# $$\tilde p(y) = p(y), \qquad \tilde p(c) = \frac{1 - p(y)}{C - 1} \quad (c \neq y)$$
#
# The figure shows both for one picture: the labelled class keeps its bar, and all other bars become equal.
# (Where the peer is wrong, the bar of the labelled class is small, and the equal bars may be larger.)

# %%
heard = kd.studies.lab_07.without_classes(answers[0].log(), data.test.labels)
number = apart_most[0]
rows = {
    "what it says": answers[0][number],
    "only how sure": heard.softmax(dim=1)[number],
}
kd.plots.distributions(rows, data.classes)

# %% [markdown]
# **Predict**: does it help a peer to hear what the other says of the wrong classes?

# %%
whole_answer = kd.predict(
    "07.whole-answer",
    "Two peers, against two that are told only how sure the other is:",
    options=["helps", "hurts", "no clear difference"],
)
whole_answer

# %%
why = pairs.stored()
why.only("label smoothing", "told only how sure", "two peers").table()

# %%
whole_answer.answer(
    why.difference("two peers", "told only how sure").verdict,
    on=why.only("label smoothing", "told only how sure", "two peers").figure(),
)


# %%
def beyond(arm, other):
    gap = why.difference(arm, other)
    return f"- {arm}, against {other}: {gap}, **{gap.verdict}**\n"


# %% [markdown]
# How to read the lines: the first says whether softer targets alone explain the gain, the second whether it helps to hear how
# hard a picture is, the third whether the wrong classes in an answer are worth anything. The last holds the mean of two
# strangers' probabilities, $\frac{1}{2}(q_1 + q_2)$, against a single one of two peers.

# %%
votes = kd.difference(
    pairs.stored("-averaged").scores["two strangers"] - why.scores["two peers"]
)
kd.say(
    beyond("two peers", "label smoothing")
    + beyond("told only how sure", "two strangers")
    + beyond("two peers", "told only how sure")
    + f"- two strangers averaged, against one of two peers: {votes}, **{votes.verdict}**\n"
)

# %% [markdown]
# The ledger also holds the two kinds of pairs that you trained above. This table sets your accuracies beside the stored ones;
# they should be nearly the same:

# %%
beside = why.beside(again) if pairs.kept else again.scores
beside

# %%
if pairs.kept:
    assert (beside["stored"] - beside["now"]).abs().max() < 2  # processors round differently
else:
    kd.say(
        f"No pairs are stored for {kd.verbatim(data.name)}: what is stored speaks of other pictures, and is "
        "not compared with these."
    )

# %% [markdown]
# ## When it does not help: a belief about the gradient
#
# **Does the stop-gradient matter?** Leave out the one `.detach()`. For two peers the sum of the losses keeps its value, but its
# gradient is another:
#
# $$L = \mathrm{CE}(q_1, y) + \mathrm{CE}(q_2, y) + D$$
#
# $$D = \mathrm{KL}(q_1 \,\|\, q_2) + \mathrm{KL}(q_2 \,\|\, q_1)$$
#
# $D$ is the sum of both divergences. No gradient is stopped, so each peer is moved by both, and by one of them towards what its
# pupil says. An earlier version of this lab called that the wrong direction, after a single seed. But R-Drop (Liang et al. 2021)
# trains with exactly this gradient, on two passes of one network. So it is measured: five pairs, everything else as above,
# stored.
#
# **Predict** what the shared gradient does to the accuracy of the peers, and to how sure they are of their answers. (How sure is
# measured by their *confidence*, the mean probability of the class that they find most likely, in percent.)

# %%
shared_accuracy = kd.predict(
    "07.shared-accuracy",
    "The accuracy of peers with a shared gradient, against peers with their own:",
    options=["more", "less", "no clear difference"],
)
shared_accuracy

# %%
shared_sureness = kd.predict(
    "07.shared-sureness",
    "How sure they are of their answers, against peers with their own gradients:",
    options=["more", "less", "no clear difference"],
)
shared_sureness

# %%
shared = {
    name: pairs.stored(suffix).difference("shared gradient", "two peers")
    for name, suffix in (
        ("accuracy", ""),
        ("agreement", "-agreement"),
        ("confidence", "-confidence"),
    )
}
moved = {"helps": "more", "hurts": "less"}
kd.say(
    "Against peers with gradients of their own: "
    f"accuracy {shared['accuracy']}, **{shared['accuracy'].verdict}**; "
    + "; ".join(
        f"{name} {gap} ({moved.get(gap.verdict, gap.verdict)})"
        for name, gap in shared.items()
        if name != "accuracy"
    )
    + ". With the stop-gradient it is the paper's method, and the exercise checks for it. Whether the "
    "other method is better or worse on these data is what the intervals say."
)
shared_accuracy.answer(moved.get(shared["accuracy"].verdict, "no clear difference"))
shared_sureness.answer(moved.get(shared["confidence"].verdict, "no clear difference"))

# %% [markdown]
# ## Recap
#
# - Without a trained teacher, students can teach each other. In deep mutual learning each peer moves by the gradient of its own
#   loss.
# - Peers start differently, err differently, and tell each other in soft answers what labels do not say.
# - A scheme that trains more networks, or larger ones, costs more. Put the arithmetic beside the gain.
# - To find out why something helps, give each explanation a rival that has this one thing and nothing else.
# - A generation hands on what it has learnt, to a network built alike on the same pictures. Whether a further generation adds
#   anything is measured, not assumed.
#
# ### Check yourself

# %%
quiz = kd.quiz("07")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Peers of different architectures: `kd.schemes.Peers([kd.models.convnet((8, 16, 32, 32)), kd.models.separable()])`.
# - A fourth generation: `kd.schemes.Chain([alone, taught, taught, taught])`, as in `online.recipes["born again, twice"].stages`.
# - Average the peers at the end: what do `pairs.stored("-averaged")` and its figure say?
# - Let peers talk at another temperature: `kd.schemes.MutualLearning(temperature=4)`.
#
# **At full size** (a GPU): all pictures, as Zhang et al. (2018) train their pairs, and beside them the student alone with the
# same total budget, which their table leaves out.

# %%
alone, pair = (
    replace(online.recipes[name], steps=1000, batch_size=256)
    for name in ("alone", "two peers")
)
full = kd.at_full_size(
    {"alone": alone, "alone, budget × 2": replace(alone, steps=2000), "two peers": pair},
    data,
    seeds=3,
    train=data.train,
    metric=kd.schemes.peer_accuracy,
    equal_budgets=False,
)

# %% [markdown]
# ### Read further
#
# - Zhang, Xiang, Hospedales, Lu (2018), *Deep Mutual Learning*.
# - Furlanello, Lipton, Tschannen, Itti, Anandkumar (2018), *Born-Again Neural Networks*.
# - Liang et al. (2021), *R-Drop: Regularized Dropout for Neural Networks*.
# - Anil et al. (2018), *Large Scale Distributed Neural Network Training through Online Distillation*.
