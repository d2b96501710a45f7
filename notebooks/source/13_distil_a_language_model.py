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
# # Distil a language model
#
# A language model answers one question again and again: what comes next? Its teacher answers it too, with a probability for every
# character there is. And a language model can do what no classifier can: write its own training text.
#
# **You will** drag a student over a teacher with two minds, write three losses, and let teacher and students write side by side.
# **You will learn** what *mode covering* and *mode seeking* mean, what exposure bias is, and what on-policy distillation does about it.
# **You need** lab 03. **Time:** 60 minutes of yours; the machine needs about a minute and a half in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace

import ipywidgets as widgets
import pandas as pd
import torch
from torch.nn import functional as F

data = kd.load_characters()
teacher = kd.zoo.language_teacher(data)

# %% [markdown]
# ## Forward or reverse?
#
# A Kullback-Leibler divergence has two ends, and on a whole vocabulary it matters which is which. First the smallest case there is. The
# teacher's distribution has two peaks; the student is one bump that can be moved and widened, and no more. Which bump is best?
#
# The *generalised Jensen-Shannon divergence* goes from one end to the other: beta = 0 is the forward KL(teacher ‖ student), beta = 1
# the reverse KL(student ‖ teacher).
#
# **Predict**: where does the bump go at beta = 0, and where at beta = 1? In between, does it wander, or jump?

# %%
peaks = kd.widgets.TwoPeaks(centers=(-2.0, 2.0), widths=(0.5, 0.7), shares=(0.6, 0.4))
playground = kd.widgets.divergence_playground(peaks)
playground

# %% tags=["widget-test"]
for beta in (0.0, 0.5, 1.0):
    playground.move(beta=beta, best=True)
    assert f"The best student at beta = {beta:g}:" in playground.description
for center, width in ((-4.0, 0.4), (0.0, 2.2), (4.0, 4.0)):
    playground.move(best=False, center=center, width=width)
    assert f"center {center:g}, width {width:g}" in playground.description
playground.move(best=True, beta=0.5)

# %% [markdown]
# Then take the bump into your own hand: at beta = 1 a narrow one has a valley at each peak, at beta = 0 a single one in all. Compare
# losses at one beta only: between the ends the divergence is scaled down, towards nothing near 0 and 1.

# %%
between = [peaks.between(*peaks.best(beta)) for beta in (0.0, 1.0)]
assert between[0] > 10 * between[1]
kd.say(
    f"The student of the forward KL puts **{between[0]:.0%}** of its probability between the peaks, where the teacher has next to "
    f"nothing: it *covers*. That of the reverse KL puts {between[1]:.1%} there: it *seeks* one peak and ignores the other."
)

# %% [markdown]
# ## Write both ends by hand

# %%
kd.exercise("13.forward_kl")


# %% tags=["exercise"] exercise="13.forward_kl"
def forward_kl(student_logits, teacher_logits):
    """Token logits (N, L, V) and (N, L, V) -> scalar; the teacher is a constant."""
    ...  # your code


# %%
forward_kl = kd.exercise("13.forward_kl").check(forward_kl)

# %%
kd.exercise("13.reverse_kl")


# %% tags=["exercise"] exercise="13.reverse_kl"
def reverse_kl(student_logits, teacher_logits):
    """Token logits (N, L, V) and (N, L, V) -> scalar; the teacher is a constant."""
    ...  # your code


# %%
reverse_kl = kd.exercise("13.reverse_kl").check(reverse_kl)

# %%
one, other = torch.randn(2, 2, 3, 5)
torch.testing.assert_close(
    forward_kl(one, other), kd.losses.generalized_jsd(one, other, beta=0)
)
torch.testing.assert_close(
    reverse_kl(one, other), kd.losses.generalized_jsd(one, other, beta=1)
)

# %% [markdown]
# ## Hear what the teacher says of the next character
#
# The teacher is a GPT of characters. Move along a line of the text: how sure is it at the beginning of a word, how sure within?

# %%
line = data.test.inputs[:1]
likely = teacher(line)[0].softmax(dim=1).detach()


def listen(position):
    top = likely[position].topk(6)
    read = data.decode(line[0, : position + 1])[-12:]
    names = [repr(data.alphabet[number])[1:-1] for number in top.indices.tolist()] + ["others"]
    shares = torch.cat([top.values, 1 - top.values.sum(0, keepdim=True)])
    return kd.plots.distribution(shares, names, title=f"after {read!r}")


# %%
listener = kd.widgets.live(
    listen, position=widgets.IntSlider(8, min=0, max=63, description="position")
)
listener

# %% tags=["widget-test"]
for position in (0, 30, 63):
    listener.move(position=position)
    assert repr(data.decode(line[0, : position + 1])[-12:]) in listener.description

# %% [markdown]
# ## Let the student learn on what it writes itself
#
# While it trains, a student continues given text; while it writes, it continues its own, mistakes and all. That gap is *exposure bias*.
# On-policy distillation closes it: the student writes, the teacher says at each character what it would have written.

# %%
kd.exercise("13.on_policy_loss")


# %% tags=["exercise"] exercise="13.on_policy_loss"
def on_policy_loss(text, prompt, write, student, teacher, loss):
    """text (N, L); write(prompts, length) -> (N, prompt + length); student(text), teacher(text) -> logits -> scalar."""
    ...  # your code


# %%
on_policy_loss = kd.exercise("13.on_policy_loss").check(on_policy_loss)

# %% [markdown]
# ## Measure
#
# The student has less than a fifth of the teacher's parameters and little text: 600 windows of 64 characters. First it learns to write from the
# text alone, 300 steps; from there each arm goes on for 200, told something else. Five paired seeds, stored (`kdcourse results 13`
# repeats it). Judged twice, in percent, higher is better:
#
# 1. *foresight*: the probability that the student gives to the next character of the test text (geometric mean);
# 2. *fluency*: the probability that the teacher gives to what the student writes.

# %%
study = kd.study("13-language", data)
foresight, fluency = study.stored(), study.stored("-written")
foresight.table()

# %%
fluency.table()

# %%
foresight.figure(ylabel="foresight, %")

# %%
fluency.figure(ylabel="fluency, %")

# %%
gain = foresight.difference("forward KL")
kd.claim("The teacher's whole distribution teaches more than the next character alone", gain)
said = {
    arm: fluency.difference(arm, "forward KL")
    for arm in ("reverse KL", "Jensen-Shannon", "on policy")
}
kd.say(
    f"Foresight: forward KL brings {gain} over the text alone, the reverse KL {foresight.difference('reverse KL')}, the "
    f"teacher's own writing {foresight.difference('sequence level')}. Fluency against the forward KL: "
    + "; ".join(f"{arm} {change} ({change.verdict})" for arm, change in said.items())
    + "."
)

# %% [markdown]
# A part of it again, here and now:

# %%
again = study.run("forward KL", "reverse KL", seeds=2)
beside = foresight.beside(again, within=2)  # processors round differently
beside

# %%

# %% [markdown]
# ## Read what they write
#
# The same beginning, continued by the teacher, by a student that has read the text but never heard the teacher, and by what two
# divergences make of it.

# %%
prompts = kd.studies.lab_13.prompts(data.test)[:1]
writers = {
    "teacher": teacher,
    "before distillation": study.recipes["forward KL"].student(seed=0),
    **{arm: again.students[arm][0] for arm in again.students},
}
texts = {
    name: data.decode(model.write(prompts, 48, seed=1)[0]) for name, model in writers.items()
}
pd.DataFrame(
    {
        "begun": data.decode(prompts[0]),
        "goes on": {name: text[16:] for name, text in texts.items()},
    }
)

# %% [markdown]
# ### Measure exposure bias
#
# How unlikely does the teacher find each character that a student writes? If mistakes add up, the curve rises with the distance from
# the given text.

# %%
many = kd.studies.lab_13.prompts(data.test)
paths = {
    name: kd.measure.free_running_loss(model, teacher, many, 48)
    .mean(dim=0)
    .unfold(0, 8, 8)
    .mean(dim=1)
    for name, model in writers.items()
}
kd.plots.profiles(
    range(8, 49, 8),
    paths,
    xlabel="characters after the given text",
    ylabel="nats a character, by the teacher",
)

# %%
rise = {name: float(path[-3:].mean() - path[:3].mean()) for name, path in paths.items()}
kd.say(
    "From the first half to the second the text becomes less likely by "
    + ", ".join(f"{value:+.2f} nats ({name})" for name, value in rise.items())
    + ". What the teacher's own curve does is no mistake of anybody's: it is the text getting away from its beginning."
)

# %% [markdown]
# ## When it does not help: a student that only ever hears itself
#
# On-policy from the first step, and nothing else: the student begins by writing noise, and the teacher comments on noise.
#
# **Predict**: after 60 steps, how far is its foresight from that of a student that learns on given text?

# %%
fresh = replace(
    study.recipes["forward KL"], student=kd.studies.lab_13.warm_start(data).student, steps=60
)
from_noise = replace(fresh, method=kd.methods.OnPolicy(1), teacher=teacher)
found = {
    name: kd.studies.lab_13.foresight(recipe.run(seed=0), data.test)
    for name, recipe in {
        "on policy from noise": from_noise,
        "forward KL from noise": fresh,
    }.items()
}
kd.say(
    "; ".join(f"{name}: **{value:.1f} %**" for name, value in found.items())
    + " after 60 steps, one seed. That is why on-policy distillation starts from a student that can already write, or mixes, as ours does."
)

# %% [markdown]
# ## At full size
#
# On a GPU: the whole text, where the student had 600 windows of it. The divergences are those that Agarwal et al. (2024) compare.

# %%
chosen = ("text only", "forward KL", "Jensen-Shannon", "reverse KL")
full = kd.at_full_size(
    {name: study.recipes[name] for name in chosen},
    data,
    seeds=3,
    train=data.train,
    steps=800,
    batch_size=64,
    metric=kd.studies.lab_13.foresight,
)

# %% [markdown]
# Larger still:
#
# - **TRL** has a trainer for it, `GKDTrainer`, with the same `beta` (0 forward, 1 reverse) and `lmbda`, the share of steps on the student's own
#   text; ours has half and half. Agarwal et al. (2024) report that on-policy beats fixed text on summarisation, translation and arithmetic.
# - **Other tokenizers.** Two models that cut text into other pieces have no common vocabulary to compare. Sequence-level KD needs none: the
#   teacher's text is text. Methods that align the pieces exist (Boizard et al. 2024, universal logit distillation).
# - **Memory.** A vocabulary of 100,000 makes 400 kB of logits for each token, in full precision: keep the largest few, or ask again.
#
# ## Recap
#
# - A language model is distilled token by token; the divergence decides what a small student gives up.
# - Forward KL covers, reverse KL seeks; Jensen-Shannon stands between.
# - A teacher can write the training text, or comment on the student's.
#
# ### Check yourself

# %%
quiz = kd.quiz("13")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - A student with three layers of 96, as large as its teacher: does the divergence still matter?
# - `kd.methods.TokenDivergence(0.5, temperature=2)`.
# - Your own text in the place of Shakespeare's: `kd.zoo.retrain_language` shows how the teacher was made.
#
# ### Read further
#
# - Kim, Rush (2016), *Sequence-Level Knowledge Distillation*.
# - Agarwal et al. (2024), *On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes*. Gu et al. (2024), *MiniLLM*.
# - Ranzato et al. (2016), *Sequence Level Training with Recurrent Neural Networks*: exposure bias.
