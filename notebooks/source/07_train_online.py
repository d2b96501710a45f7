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
# **You will** write the loss of one peer, train peers through the loop you know, and raise generations.
# **You will learn** why each peer needs a gradient of its own, and how to tell knowledge from more training.
# **You need** labs 03 and 06. **Time:** 45 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace

import torch
from torch.nn import functional as F

data = kd.load_images()

# %% [markdown]
# ## Three ways without a trained teacher
#
# | scheme | who teaches | when | cost |
# |---|---|---|---|
# | peers (deep mutual learning) | every student every other | at each step | as many networks as peers |
# | together | a larger network the smaller | at each step, while it learns itself | both networks |
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
    kd.models.perceptron((16,), seed=seed).to(data.train.device) for seed in (0, 1)
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
# ## Watch peers agree
#
# Two small convolutional networks, 1,000 labelled pictures. While they train they come to give the same answers. Do two
# strangers, trained apart, agree less?
#
# **Predict** the two agreements.

# %%
online = kd.study("07-online", data)
again = online.run("alone", "two peers", seeds=2)
together, apart = again.students["two peers"][0], again.students["alone"]

agree = {
    "peers": kd.measure.agreement(*together.members, data.test),
    "strangers": kd.measure.agreement(*apart, data.test),
}
kd.say(
    f"Peers give the same answer to **{agree['peers']:.1f} %** of the test pictures, strangers "
    f"to **{agree['strangers']:.1f} %**."
)

# %% [markdown]
# What do they tell each other? Here is what each peer says of one picture. Move through the pictures on which they differed most.

# %%
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
# ## Measure, with the budget beside each
#
# A scheme that trains two networks, or one network twice, costs twice as much. So the student alone runs with two and three
# budgets too: what more training brings is not knowledge. Five paired seeds, stored (`kdcourse results 07` repeats them).

# %%
stored = online.stored()
stored.table()

# %%
stored.figure()

# %% [markdown]
# The pairs of peers and the strangers above were a part of it, trained here and now. Set them beside what is stored:

# %%
beside = stored.beside(again)
beside

# %%
assert (beside["stored"] - beside["now"]).abs().max() < 2  # processors round differently
peers_gain = stored.difference("two peers")
same_budget = stored.difference("two peers", "alone, budget × 2")
kd.say(
    f"Two peers against one student alone: {peers_gain}, **{peers_gain.verdict}**. Against one "
    "student with the same total budget: "
    f"{same_budget}, **{same_budget.verdict}**. Twice the training alone brings "
    f"{stored.difference('alone, budget × 2')}."
)

# %%
three = stored.difference("three peers", "alone, budget × 3")
fewer = stored.difference("three peers", "two peers")
kd.say(
    f"Three peers: {stored.difference('three peers')} over one student alone, {three} over one "
    "with "
    f"their total budget (**{three.verdict}**), {fewer} over two peers ({fewer.verdict})."
)

# %%
at_once, after = stored.difference("with its teacher"), stored.difference("after its teacher")
kd.say(
    f"A student that learns together with its teacher: {at_once} ({at_once.verdict}); after it, "
    f"at the same total budget: {after} ({after.verdict})."
)

# %%
once = stored.difference("born again", "alone, budget × 2")
twice = stored.difference("born again, twice", "alone, budget × 3")
again_gain = stored.difference("born again, twice", "born again")
kd.say(
    "Born again, taught by its own kind, against one student with the same total budget: "
    f"{once} ({once.verdict}) for one generation, {twice} ({twice.verdict}) for two. "
    f"What the second generation adds to the first: {again_gain} ({again_gain.verdict})."
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
# ## When it does not help: peers that share a gradient
#
# Leave out the one `.detach()`, and each peer is also pushed to make itself easy to imitate. Two pairs, a quarter of the steps each:
#
# **Predict** what that does to their answers: surer, or less sure?


# %%
class Shared(kd.schemes.MutualLearning):
    """Mutual learning without the cut: both peers get the gradient of both divergences."""

    def forward(self, batch):
        peers = batch.student_logits.unbind(dim=1)
        hard = sum(F.cross_entropy(one, batch.labels) for one in peers)
        log_p, log_q = (one.log_softmax(dim=1) for one in peers)
        both = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        return hard + both + F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)


# %%
own = replace(online.recipes["two peers"], steps=150)
pairs = {
    "own gradients": own.run(seed=0),
    "shared gradient": replace(own, method=Shared()).run(seed=0),
}
sure = {
    name: torch.cat(
        [kd.measure.predict(one, data.test).softmax(1).amax(1) for one in pair.members]
    ).mean()
    for name, pair in pairs.items()
}
found = {name: kd.schemes.peer_accuracy(pair, data.test) for name, pair in pairs.items()}
kd.say(
    "; ".join(
        f"{name}: mean confidence {float(sure[name]):.1%}, accuracy {found[name]:.1f} %"
        for name in found
    )
    + ". One seed proves nothing about accuracy, as lab 00 showed; but a shared gradient is not "
    "the method that the paper proposed, and "
    "the check in this lab tells the two apart from a single step."
)

# %% [markdown]
# ## Recap
#
# - Without a trained teacher, students teach each other; each moves by its own gradient.
# - A scheme that trains more networks costs more. Put the budget beside the gain.
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
# - Average the peers at the end (`kd.schemes.Ensemble`): more, or less, than two strangers averaged?
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
# - Anil et al. (2018), *Large Scale Distributed Neural Network Training through Online Distillation*.
