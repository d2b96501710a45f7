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
# So far a trained teacher was there before the student came. What if there is none? Students can teach each other; a teacher and
# its student can start on the same day; and a student can become the teacher of the next one.
#
# **You will** write the loss of one peer and a step for both, train peers through the loop you know, and raise generations.
# **You will learn** what peers tell each other, and how to tell knowledge from more training and from softer labels.
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
# | scheme | who teaches | when | what is trained |
# |---|---|---|---|
# | peers (deep mutual learning) | every student every other | at each step | as many networks as peers |
# | together | a larger network the smaller | at each step, while it learns itself | both networks, the larger at its own price |
# | generations (born again) | a trained student the next one, of its own kind | one after another | each generation anew |
#
# ## Write one peer's loss
#
# $$L_k = \mathrm{CE}(q_k, y) + \frac{1}{K-1}\sum_{j \ne k} \mathrm{KL}(p_j \,\|\, q_k)$$
#
# Peer $j$ is a constant in $L_k$: it has a loss of its own.

# %%
kd.exercise("07.peer_loss")


# %% tags=["exercise"] exercise="07.peer_loss"
def peer_loss(own_logits, other_logits, labels):
    """Logits (N, C), (N, C), labels (N,) -> scalar; the other peer must not move."""
    ...  # your code


# %%
peer_loss = kd.exercise("07.peer_loss").check(peer_loss)

# %% [markdown]
# Two peers are one model to the training loop: logits (N, 2, C), and the sum of both losses. Because each loss holds the other peer
# constant, the gradient of the sum is, for each peer, the gradient of its own loss. Check it with yours.

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
# Both speak about the same pictures, each learns from what the other has said, and then both move. If the first moved before the second asks it,
# the second would learn from a network that has seen this batch already.

# %%
kd.exercise("07.online_step")


# %% tags=["exercise"] exercise="07.online_step"
def online_step(first, second, images, labels, optimizers):
    """Two peers, a batch (N, ...), (N,), an optimiser for each -> their losses; both are updated once."""
    ...  # your code


# %%
online_step = kd.exercise("07.online_step").check(online_step)

# %% [markdown]
# Train two peers with it, from nothing: 300 steps on 1,000 labelled pictures.

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
kd.say(
    f"The two give the same answer to {kd.measure.agreement(*two, unseen):.1f} % of 1,000 validation pictures; before the first step it was "
    f"{at_first:.1f} %. Right are {' and '.join(f'{kd.measure.accuracy(one, unseen):.1f}' for one in two)} %; the last losses are "
    f"{' and '.join(f'{torch.as_tensor(loss).item():.2f}' for loss in losses)}."
)

# %% [markdown]
# ## Watch peers agree
#
# Two small convolutional networks, 1,000 labelled pictures. While they train they come to give the same answers. How much of that do
# they owe to each other? Their rivals are two strangers: the same two networks with the same first weights, the same pictures in the same
# batches, and a weight of 0 on what the other says. The talk is all that differs.
#
# **Predict**: how much more often do peers agree on the test pictures than strangers?

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
# Two pairs are few. Five pairs of each kind are stored (`kdcourse results 07` repeats them):

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
# What do they tell each other? Here is what each peer says of one picture. Move through the pictures on which they differed most.

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
# ## Raise generations

# %%
kd.exercise("07.born_again")


# %% tags=["exercise"] exercise="07.born_again"
def born_again(nets, train):
    """Untrained nets, and train(student, teacher), teacher None for labels only -> the last generation."""
    ...  # your code


# %%
born_again = kd.exercise("07.born_again").check(born_again)

# %% [markdown]
# Raise two generations with it. Each is a small convolutional network; the second learns from the labels and from the first.

# %%
online = kd.study("07-online", data)
alone, taught = online.recipes["born again"].stages


def raise_one(student, teacher):
    stage = alone if teacher is None else replace(taught, teacher=kd.TeacherCache(teacher))
    replace(stage, student=lambda seed: student).run(seed=0)


older, younger = (alone.student(seed=seed) for seed in (1000, 0))
grown = kd.measure.accuracy(born_again([older, younger], raise_one), data.test)
kd.say(
    f"First generation {kd.measure.accuracy(older, data.test):.1f} %, second {grown:.1f} %."
)

# %% [markdown]
# ## Measure, with the cost beside each
#
# A scheme that trains two networks, or one network twice, costs twice as much; a larger teacher costs more still. The table counts the
# arithmetic of the whole run. So the student alone runs with two and three budgets too, once with smoothed labels: what more training or
# softer labels bring needs no second network. Five paired seeds, stored; *born again* at seed 0 is what you have just trained.

# %%
stored = online.stored()
assert not online.kept or abs(stored.scores.loc[0, "born again"] - grown) < 2
stored.table()

# %%
stored.figure()

# %% [markdown]
# The arms differ in this besides:

# %%
stored.differs()


# %%
def found(arm, baseline="alone"):
    gap = stored.difference(arm, baseline)
    return f"- {arm}, against {baseline}: {gap}, **{gap.verdict}**\n"


kd.say(
    "What more training alone brings:\n\n"
    + found("alone, budget × 2")
    + found("alone, budget × 3")
    + "\nTwo networks, and their rivals of equal arithmetic:\n\n"
    + found("two peers")
    + found("two peers", "alone, budget × 2")
    + found("two peers", "smoothed, budget × 2")
    + found("two peers", "born again")
    + "\nThree networks:\n\n"
    + found("three peers", "alone, budget × 3")
    + found("three peers", "two peers")
    + found("born again, twice", "born again")
)

# %%
times = (
    stored.facts["with its teacher"].multiply_adds / stored.facts["two peers"].multiply_adds
)
kd.say(
    "A student and a larger teacher that learn together see as many pictures as two peers, and "
    f"take {times:.1f} times their arithmetic:\n\n"
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
# Theirs train on 50,000 labelled colour pictures for 200 epochs; the published comparison gives both peers the same number of epochs as the
# student alone, and so twice its total budget.
#
# ## Why do peers help?
#
# A peer brings more than one thing. Each answer below has a rival of its own, a pair with the same arithmetic, pictures and batches:
#
# | if the gain is | then this does as well |
# |---|---|
# | softer targets | label smoothing: a tenth of each label spread over all classes |
# | how hard a picture is | peers that hear only how likely the other finds the labelled class; the rest is spread evenly |
# | two votes | two strangers whose answers are averaged: but then both have to run in use |
# | what the other says of the other classes | nothing of these |
#
# The second one in symbols, with label $y$ and $C$ classes: a peer hears $\tilde p$ instead of $p$,
#
# $$\tilde p(y) = p(y), \qquad \tilde p(c) = \frac{1 - p(y)}{C - 1} \text{ for } c \neq y$$

# %%
heard = kd.studies.lab_07.without_classes(answers[0].log(), data.test.labels)
number = apart_most[0]
rows = {
    "what it says": answers[0][number],
    "only how sure": heard.softmax(dim=1)[number],
}
kd.plots.distributions(rows, data.classes)

# %% [markdown]
# **Predict**: is what a peer says of the other classes worth anything?

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
# The stored pairs hold the two kinds that were trained above, here and now. Set them beside each other:

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
# Leave out the one `.detach()`. The loss keeps its value, but each peer is now moved by both divergences, and so towards what its pupil
# says. An earlier version of this lab called that the wrong way, after a single seed. But R-Drop (Liang et al. 2021) trains with this very
# gradient, on two passes of one network. So: five pairs, all else as above, stored.
#
# **Predict** what it does to their accuracy, and to how sure they are.

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
    + ". So the cut is what makes it the paper's method, and the exercise checks it. Whether the "
    "other method is better or worse is for the interval to say."
)
shared_accuracy.answer(moved.get(shared["accuracy"].verdict, "no clear difference"))
shared_sureness.answer(moved.get(shared["confidence"].verdict, "no clear difference"))

# %% [markdown]
# ## Recap
#
# - Without a trained teacher, students teach each other; each moves by its own gradient.
# - A scheme that trains more networks, or larger ones, costs more. Put the arithmetic beside the gain.
# - Why does it help? Give each answer a rival that has nothing else to offer.
# - Generations hand on what the one before has learnt; whether that adds anything is measured, not assumed.
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
# - Let peers talk at another temperature: `MutualLearning(temperature=4)`.
#
# **At full size** (a GPU): all pictures, as Zhang et al. (2018) train their pairs, with the student of the same total budget that their table
# leaves out.

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
