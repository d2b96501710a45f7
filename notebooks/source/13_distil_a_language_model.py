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
# **You will learn** what *mode covering* and *mode seeking* mean, what exposure bias is, and how to hold a method against its
# cheapest rival.
# **You need** lab 03. **Time:** 60 minutes of yours; the machine needs about a minute and a half in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
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
seeks = kd.predict(
    "13.one-peak",
    "At beta = 1 (reverse KL), where does the best student put its bump?",
    options=["between the peaks, over both", "on one of the two peaks"],
)
seeks

# %%
peaks = kd.widgets.TwoPeaks(centers=(-2.0, 2.0), widths=(0.5, 0.7), shares=(0.6, 0.4))
playground = kd.widgets.divergence_playground(peaks)
playground

# %% tags=["widget-test"]
with playground.restored():
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
seeks.answer(seeks.options[between[1] < 0.1 * between[0]])
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
with listener.restored():
    for position in (0, 30, 63):
        listener.move(position=position)
        assert repr(data.decode(line[0, : position + 1])[-12:]) in listener.description

# %% [markdown]
# ## Let the student learn on what it writes itself
#
# While it trains, a student continues given text; while it writes, it continues its own, mistakes and all. That gap is *exposure bias*.
# On-policy distillation is meant to close it: the student writes, the teacher says at each character what it would have written. Whether it
# does is measured below.

# %%
kd.exercise("13.on_policy_loss")


# %% tags=["exercise"] exercise="13.on_policy_loss"
def on_policy_loss(text, prompt, write, student, teacher, loss):
    """text (N, L); write(prompts, length) -> (N, prompt + length); student(text), teacher(text) -> logits -> scalar."""
    ...  # your code


# %%
on_policy_loss = kd.exercise("13.on_policy_loss").check(on_policy_loss)

# %%
beginner = kd.studies.lab_13.warm_start(data).student(seed=0).to(data.train.device)
eight = data.train.sample(8, seed=0).inputs
with torch.no_grad():
    given = reverse_kl(beginner(eight), teacher(eight)).item()
    own = on_policy_loss(eight, 16, beginner.write, beginner, teacher, reverse_kl).item()
kd.say(
    f"By your functions: a student that has learnt nothing is {given:.2f} nats a character away from its teacher on given text, and "
    f"{own:.2f} on the text that it writes itself."
)

# %% [markdown]
# ## Measure
#
# The student has less than a fifth of the teacher's parameters and little text: 600 windows of 64 characters. First it learns to write from the
# text alone, 300 steps; from there each arm goes on for 200, told something else. Five paired seeds, stored (`kdcourse results 13`
# repeats it). Judged three times, in percent:
#
# 1. *foresight*: the probability that the student gives to the next character of the test text (geometric mean);
# 2. *fluency*: the probability that the teacher gives to what the student writes;
# 3. *variety*: of all sequences of four characters that it writes, how many differ. Whoever repeats one safe phrase is fluent. But more is
#    not better: noise has the most. What the teacher and the text itself have is the measure.
#
# What else differs between the arms?

# %%
lab = kd.studies.lab_13
study = kd.study("13-language", data)
foresight, fluency, variety = (
    study.stored(),
    study.stored("-written"),
    study.stored("-variety"),
)
foresight.differs()

# %% [markdown]
# *Sequence level* learns from its 600 windows and a continuation of each that the teacher wrote (a character shorter, so they count as others).
# Its rival is a student with twice as much text. *On policy* the student writes, on the reverse KL: that takes more arithmetic, and its text is
# not counted. *Half forward KL, half on policy* changes two things at once, the divergence and the text; beside it stands one that changes
# the divergence alone, *half forward, half reverse KL* on given text.
#
# **Predict**: which of these arms will be the most fluent, and what will it pay?

# %%
pays = kd.predict(
    "13.fluent-pays",
    "The reverse KL is told to write what the teacher finds likely. Against the forward KL, its foresight",
    options=["is higher", "is lower", "no clear difference"],
)
pays

# %%
foresight.table()

# %%
seeking = foresight.difference("reverse KL", "forward KL").verdict
words = {"helps": "is higher", "hurts": "is lower"}
pays.answer(
    words.get(seeking, "no clear difference"), on=foresight.figure(ylabel="foresight, %")
)

# %%
fluency.table()

# %%
fluency.figure(ylabel="fluency, %")

# %% [markdown]
# All three side by side, with the teacher's own numbers and those of the text that it was tested on:

# %%
measures = {"foresight": foresight, "fluency": fluency, "variety": variety}
means = pd.DataFrame({name: found.scores.mean() for name, found in measures.items()})
means.loc["the teacher"] = [
    judge(teacher, data.test) for judge in (lab.foresight, lab.fluency, lab.variety)
]
means.loc["the text", "variety"] = lab.different(
    data.test.sample(min(lab.PROMPTS, len(data.test))).inputs[:, lab.PROMPT :]
)
means.round(1)

# %%
repeats = kd.difference(variety.scores["reverse KL"] - means.loc["the teacher", "variety"])
kd.say(
    f"Is the reverse KL fluent because it repeats itself? Its variety stands {repeats} against the teacher's own writing: "
    + ("**it repeats more**." if repeats.high < 0 else "**not more than the teacher does**.")
)

# %%
gain = foresight.difference("forward KL")
kd.claim("The teacher's whole distribution teaches more than the next character alone", gain)
more_text, written = "text only, twice as much", "sequence level"
kd.say(
    f"Foresight: the whole distribution (forward KL) brings {gain} over the text alone, as much text again "
    f"{foresight.difference(more_text)}; against each other {foresight.difference('forward KL', more_text)} "
    f"(**{foresight.difference('forward KL', more_text).verdict}**)."
)
kd.say(
    f"The teacher's writing brings {foresight.difference(written)} ({foresight.difference(written).verdict}); against as much text by "
    f"its authors it is {foresight.difference(written, more_text)} (**{foresight.difference(written, more_text).verdict}**)."
)

# %% [markdown]
# ### What does the divergence do, and what the student's own text?
#
# Each row changes one thing, the last one two. The difference is clear where its interval leaves out zero.

# %%
mixed, control = "half forward KL, half on policy", "half forward, half reverse KL"
pairs = {
    "the divergence": [
        ("reverse KL", "forward KL"),
        ("Jensen-Shannon", "forward KL"),
        ("Jensen-Shannon", "reverse KL"),
        (control, "forward KL"),
    ],
    "the text": [("on policy", "reverse KL"), (mixed, control)],
    "both": [(mixed, "forward KL")],
}
pd.DataFrame(
    {
        (changed, f"{arm} against {other}"): {
            name: str(found.difference(arm, other)) for name, found in measures.items()
        }
        for changed, rows in pairs.items()
        for arm, other in rows
    }
).T

# %%
kd.say(
    f"*On policy* alone, against the text only: foresight {foresight.difference('on policy')} "
    f"(**{foresight.difference('on policy').verdict}**), fluency {fluency.difference('on policy')} "
    f"(**{fluency.difference('on policy').verdict}**)."
)
kd.say(
    f"We believed that on-policy distillation buys fluency without losing foresight. Our arm was half forward KL. Against the same "
    f"mixture on given text, the student's own text changes foresight by {foresight.difference(mixed, control)} "
    f"(**{foresight.difference(mixed, control).verdict}**), fluency by {fluency.difference(mixed, control)} "
    f"(**{fluency.difference(mixed, control).verdict}**) and variety by {variety.difference(mixed, control)}."
)

# %% [markdown]
# Mind what even this comparison leaves open: what the student writes is new at every step, the given text is the same 600 windows again and again.
# Part of a gain may be that there is more text, whoever wrote it.
#
# A part of it again, here and now:

# %%
again = study.run("forward KL", "reverse KL", seeds=2)
beside = foresight.beside(again, within=2)  # processors round differently
beside

# %% [markdown]
# ## Read what they write
#
# The same beginning, continued by the teacher, by a student that has read the text but never heard the teacher, and by what two
# divergences make of it.

# %%
prompts = lab.prompts(data.test)[:1]
writers = {
    "teacher": teacher,
    "before distillation": study.recipes["forward KL"].student(seed=study.seeds[0]),
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
# the given text. Here are one student of each kind, to see what is meant:

# %%
many = lab.prompts(data.test)
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

# %% [markdown]
# A verdict needs more than one student. By how much, in percent, does the fluency of the second half of what is written fall below that of the
# first? The teacher's own fall is no mistake of anybody's: it is the text getting away from its beginning. So what counts is a student's fall
# beyond the teacher's, over five students of each arm, and five texts of the teacher.


# %%
def fall(whole, late):
    """Fluency of all that is written and of its second half -> by how many percent that falls below the first."""
    return 100 * (1 - (late / whole) ** 2)  # whole is the geometric mean of both halves


falls = fall(fluency.scores, study.stored("-late").scores)
own_fall = [
    fall(
        lab.fluency(teacher, data.test, seed=n),
        lab.fluency(teacher, data.test, skip=24, seed=n),
    )
    for n in range(len(falls))
]
beyond = {arm: kd.difference(falls[arm] - own_fall) for arm in falls}
pd.DataFrame(
    {
        "fall, %": falls.mean().round(1),
        "beyond the teacher's": {arm: str(found) for arm, found in beyond.items()},
    }
)

# %%
less = {
    "the reverse KL": kd.difference(falls["reverse KL"] - falls["on policy"]),
    "the mixture": kd.difference(falls[control] - falls[mixed]),
}
rising = [arm for arm, found in beyond.items() if found.low > 0]
kd.say(
    f"The teacher's text falls by {sum(own_fall) / len(own_fall):.1f} % (below 0 it rises). Clearly beyond that falls the writing of: "
    f"**{', '.join(rising) or 'no arm'}**. Learning on its own text in place of given text takes off the fall "
    + ", ".join(f"{found} with {name} (**{found.verdict}**)" for name, found in less.items())
    + "."
)

# %% [markdown]
# ## When it does not help: a student that begins with noise
#
# We believed: a student with fresh weights cannot learn from what it writes, for it writes noise, and the teacher comments on noise. But the arm
# that showed it had the reverse KL as well, and was held against the forward KL on given text. So here are all four: given text or the
# student's own, forward or reverse, after 60 steps. Own text takes three times the arithmetic; else nothing differs.
#
# **Predict**: which costs more foresight, the student's own text or the reverse KL?

# %%
costs_more = kd.predict(
    "13.noise",
    "From noise, which costs more foresight?",
    options=["its own text", "the reverse KL", "no clear difference"],
)
costs_more

# %%
fresh = kd.study("13-noise", data)
noise = fresh.stored()
noise.table()

# %%
cell = "{} text, {} KL".format
by_text = {
    kl: noise.difference(cell("own", kl), cell("given", kl)) for kl in ("forward", "reverse")
}
by_divergence = {
    text: noise.difference(cell(text, "reverse"), cell(text, "forward"))
    for text in ("given", "own")
}
scores = noise.scores
crosswise = kd.difference(scores[cell("own", "forward")] - scores[cell("given", "reverse")])
kd.say(
    f"Reverse in place of forward KL: {by_divergence['given']} on given text, {by_divergence['own']} on its own. Own text in place of given: "
    f"{by_text['forward']} with the forward KL (**{by_text['forward'].verdict}**), {by_text['reverse']} with the reverse "
    f"(**{by_text['reverse'].verdict}**). Own text with the forward KL stands {crosswise} against given text with the reverse: "
    f"**{crosswise.verdict}**."
)
kd.claim(
    "From noise, the reverse KL costs more foresight than the student's own text", crosswise
)
words = {"helps": "the reverse KL", "hurts": "its own text"}
costs_more.answer(
    words.get(crosswise.verdict, "no clear difference"), on=noise.figure(ylabel="foresight, %")
)

# %% [markdown]
# The reverse KL weights each character with the student's own probability, and a student that has learnt nothing gives the likely ones no more of it
# than the others. That is a reason to begin with a student that can already write, on whatever text. Two of the four again, here and now:

# %%
noise.beside(fresh.run(cell("given", "forward"), cell("given", "reverse"), seeds=2), within=2)

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
# - Forward KL covers, reverse KL seeks.
# - A teacher can write the training text: hold it against as much more text. It can comment on the student's: hold that against the same
#   divergence on given text.
# - Whether the teacher likes a text is not all: measure how much of it is repetition.
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
