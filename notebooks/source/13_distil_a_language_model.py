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
# A language model answers one question again and again: which *token* comes next? A token is a piece of text; here it is a
# single character. A teacher answers with a probability for every token there is, so it can teach at each place of a text. It
# can also do what no classifier can: write the training text itself.
#
# How much you can learn from a teacher depends on what you get of it. This lab is a ladder, and each rung asks for more:
#
# | rung | what you have of the teacher | what the student learns from |
# |---|---|---|
# | plain text | nothing | the next character of a text |
# | black box | the text that it writes | its writing, perhaps only the best of it |
# | traces | the text that it writes, on the way to an answer | its steps, perhaps only those that end right |
# | a file | its few largest probabilities | part of its distribution at each character |
# | white box | all of its logits | its whole distribution, by one divergence or another |
# | on policy | the teacher itself, at each step | its comments on what the student writes |
#
# The *logits* are the numbers before the softmax, one for each token. Beside the ladder stands a teacher with *another
# tokenizer*: a tokenizer is what cuts text into tokens and numbers them, and its tokens are not yours.
#
# **You will** write the losses of the ladder and the rule of speculative decoding, and train students by them.
# **You will learn** what each rung brings over its cheapest rival, and to judge a language model by more than one number.
# **You need** lab 03. **Time:** 75 minutes of yours; the machine needs about a minute and a half in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import ipywidgets as widgets
import pandas as pd
import torch
from torch.nn import functional as F

pd.set_option("display.max_colwidth", None)  # a table shows its texts whole
data = kd.load_characters()
teacher = kd.zoo.language_teacher(data)

# %% [markdown]
# ## Plain text
#
# **The question: what does a student learn from the text alone?** This is how every language model begins, and the baseline of
# all that follows.
#
# $$\mathcal{L}_{\text{text}} = -\frac{1}{N L} \sum_{n=1}^{N} \sum_{t=1}^{L} \log q(y_{n,t} \mid y_{n,<t})$$
#
# A batch holds N texts of L characters, $y$ of shape (N, L). $y_{n,t}$ is character t of text n, and $y_{n,<t}$ are those before
# it. $q$ is the student's distribution, that is its logits after the softmax, of shape (N, L, V) for V characters in the
# alphabet. $p$ will be the teacher's, of the same shape. At each place this loss looks at one of V numbers, the probability of
# the character that stands there.
#
# The teacher is a small GPT. Its answer has V numbers at each place. The bars below show the six largest of them, and the sum
# of all others. Move along a line of the text: how sure is the teacher at the beginning of a word, and how sure within a word?
# The caption names the *entropy*: 0 where the teacher is certain, largest where all bars are equal. It is counted in *nats*,
# with the natural logarithm. With the logarithm to base 2 the unit is the *bit*, as in the teacher's loss above.

# %%
line = data.test.inputs[:1]
likely = teacher(line)[0].softmax(dim=1).detach()


def listen(position):
    top = likely[position].topk(6)
    read = data.decode(line[0, : position + 1])[-12:]
    names = [repr(data.alphabet[number]) for number in top.indices.tolist()] + ["all others"]
    shares = torch.cat([top.values, 1 - top.values.sum(0, keepdim=True)])
    return kd.plots.distribution(
        shares, names, title=f"after {read!r}", names=("probability", "next character")
    )


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
# All students of this lab have less than a fifth of the teacher's parameters, and little text: 600 windows of 64 characters.
# First a student learns to write from the text alone. From there each *arm* (one of the recipes that are compared) goes on with
# another loss or another text. An arm runs with five *seeds*, numbers that fix what is random in a run; arms with the same seed
# go on from the same student, so that differences are *paired*, taken seed by seed. The brackets hold the 95 % confidence
# interval of such a difference. The *verdict* puts it into words: *helps* where the interval lies above zero, *hurts* where it
# lies below, *no clear difference* where it holds zero.
#
# The comparisons are *stored*, computed beforehand by `kdcourse results 13`: first a ladder of short runs, then a longer one
# for the divergences. Both judge a student by several numbers, because each of them alone can be raised cheaply:
#
# 1. *foresight*: the probability that the student gives to the next character of the test text (geometric mean, in percent). It
#    is what the loss on plain text is about;
# 2. *fluency*: the probability that the teacher gives to what the student writes, as a geometric mean too. Whoever repeats one
#    safe phrase is fluent;
# 3. *variety*: of all sequences of four characters that it writes, the share that differ. Noise has the most, so more is not
#    better: the teacher's own variety is the measure;
# 4. *drafts*: how many characters one call of the teacher brings when the student drafts for it. What this means follows below.
#
# The first table says what the arms do not share: *inputs*, the different windows that training looks at; *labels*, those among
# them that are also learnt as plain text (every arm begins with that); the multiply-adds of training, without the teacher's
# writing; and the temperature. Where the teacher writes, windows are a character shorter than at the beginning, so nearly all
# of the 600 count twice. In the second table, each row is an arm, the mean of its five students, and the last row is the
# teacher itself. Come back to it at each rung.

# %%
lab = kd.studies.lab_13
ladder = kd.study("13-ladder", data)
names = {"foresight": "", "fluency": "-written", "variety": "-variety", "drafts": "-drafts"}
rungs = {name: ladder.stored(suffix) for name, suffix in names.items()}
rungs["foresight"].differs()

# %%
judges = dict(zip(names, ladder.metrics.values(), strict=True))
means = pd.DataFrame({name: found.scores.mean() for name, found in rungs.items()})
means.loc["the teacher"] = [judge(teacher, data.test) for judge in judges.values()]
means.round(2)

# %% [markdown]
# Below, an arm is held against another by the first three measures. All differences are in percentage points. *Higher* and
# *lower* mean that the interval leaves out zero.


# %%
def spread(found, digits="+.2f"):
    """A mean and its interval."""
    return f"{found.mean:{digits}} [{found.low:{digits}}, {found.high:{digits}}]"


def said(arm, other="text only", names=("foresight", "fluency", "variety")):
    """An arm against another, in words, by several measures."""
    words = {"helps": "higher", "hurts": "lower"}  # more variety need not be better
    found = {name: rungs[name].difference(arm, other) for name in names}
    return ", ".join(
        f"{name} {spread(one)} (**{words.get(one.verdict, one.verdict)}**)"
        for name, one in found.items()
    )


# %% [markdown]
# ## The black box: only the teacher's text
#
# **The question: the teacher sits behind an interface that returns text. What is left?** *Sequence-level* distillation (Kim,
# Rush 2016): the teacher writes, and the student learns from that text as from any other.
#
# $$\mathcal{L}_{\text{sequence}} = -\frac{1}{N L} \sum_{n,t} \log q(\hat{y}_{n,t} \mid \hat{y}_{n,<t})$$
#
# $$\hat{y}_n \sim p(\cdot \mid x_n)$$
#
# $\hat{y}_n$ is what the teacher writes after $x_n$, here the first 16 characters of a window; N, L, t and q are those of plain
# text. In expectation, and up to a constant, this loss is the forward KL between whole texts: each character is one draw from
# the distribution that white-box methods see at every place. It costs the teacher one call for each character, once, and the
# student nothing beyond plain text. No logits are needed, and no common vocabulary.
#
# *Best of n*: the teacher writes n texts $y^{(1)}, \dots, y^{(n)}$ after the same beginning x, and one of them is kept. The
# choice needs a judge. In practice that is a reward model (a network that grades answers), or a test that an answer must pass.
# Here it is the teacher's own likelihood: kept is the text with the largest $\log p(y^{(i)} \mid x)$. It costs n times the
# writing and gives no more text.
#
# In the ladder, *sequence level* and *best of 4* learn from their 600 windows and 300 continuations of them. Their *rival*, a
# cheaper way to the same gain, is a student that gets 300 more windows by the authors instead.

# %%
more, best = "text only, half as much again", f"best of {lab.DRAWN}"
kd.say(f"The teacher's writing, against the text alone: {said('sequence level')}.")
kd.say(f"Against as much more text by its authors: {said('sequence level', more)}.")
kd.say(
    f"The best of {lab.DRAWN} against the first, at equal data: {said(best, 'sequence level')}."
)

# %% [markdown]
# The likeliest of several texts tends to be a safe one, so watch fluency and variety together.
#
# ## Traces: the steps to an answer
#
# **The question: a problem takes several steps. Does it help the student to see them, beside the answer?** A teacher behind a
# text interface can be asked to show its work. What it writes on the way to an answer is called a *trace*, or *chain of
# thought*, and small language models learn to reason from such traces (Ho et al. 2023, Hsieh et al. 2023).
#
# Our models are too small for problems in words. So here is a made-up task, the same beside every text: five digits from 0 to 4
# are added as on a clock of five hours, where 3 + 4 is 2. "31402=" asks for a sum. Its trace adds one digit at a time, each step
# three characters: the total so far, the next digit, the new total.
#
# ```text
# problem   steps
# 31402=    314       443       303       320
#           3+1 is 4  4+4 is 3  3+0 is 3  3+2 is 0
# ```
#
# The last character, 0, is the answer. Each step is a look into a table of 25 pairs; an answer without steps takes four such
# looks at once. The loss is that of sequence level, on what follows the sign "=":
#
# $$\mathcal{L}_{\text{traces}} = -\frac{1}{N S} \sum_{n=1}^{N} \sum_{s=1}^{S} \log q(\hat{y}_{n,s} \mid x_n, \hat{y}_{n,<s})$$
#
# $x_n$ is problem n of N, and $\hat{y}_n$ of length S is what the teacher writes after it: S = 12 for a trace, S = 1 for an
# answer alone. $q$ is the student's distribution, as above. The teacher, a GPT of one layer, has learnt from the worked steps of
# 625 other sums. It writes at temperature 2, where it slips often, so that there is something to choose from.
#
# *Rejection sampling* (Zelikman et al. 2022, Yuan et al. 2023): the teacher writes m = 4 traces $y^{(1)}, \dots, y^{(m)}$ for a
# problem, and the first one that ends with the right answer $a$ is kept:
#
# $$\hat{y} = y^{(i)}, \qquad i = \min \{\, j \le m : y^{(j)}_{S} = a \,\}$$
#
# $y^{(j)}_{S}$ is the last character of trace j. This needs the right answers, and no right steps. A problem without a right
# ending is left out. Write it:

# %%
kd.exercise("13.right_traces")


# %% tags=["exercise"] exercise="13.right_traces"
def right_traces(traces, answers):
    """Traces (m, N, S), m of each problem, and right answers (N,) -> the first of each that ends right, (K, S)."""
    ...  # your code


# %%
right_traces = kd.exercise("13.right_traces").check(right_traces)

# %% [markdown]
# The table shows some of the teacher's first traces. The two on top end right by luck, though some
# character before the answer is wrong.

# %%
sums = kd.data.load_sums()
asked = kd.data.sums.ASKED
adder = lab.sums_teacher(sums)
worked = lab.sums_for(sums, lab.SUMS, seed=0)
drawn = lab.traces_of(adder, worked, lab.DRAWN, seed=0)
ends_right, all_right = drawn[0, :, -1] == worked[:, -1], (drawn[0] == worked).all(dim=1)
shown = [*(ends_right & ~all_right).nonzero().flatten()[:2].tolist(), *range(6)]
pd.DataFrame(
    {
        "problem": [sums.decode(text[:asked]) for text in worked[shown]],
        "steps by rule": [sums.decode(text[asked:]) for text in worked[shown]],
        "the teacher's trace": [sums.decode(text[asked:]) for text in drawn[0, shown]],
        "ends right": ends_right[shown].tolist(),
        "all steps right": all_right[shown].tolist(),
    }
)

# %%
kept = right_traces(drawn, worked[:, -1])

# %%
kd.say(
    f"Of the teacher's first traces {ends_right.float().mean():.0%} end right, and {all_right.float().mean():.0%} are right at "
    f"each step. With {lab.DRAWN} traces of each problem, {len(kept)} of {len(worked)} problems have one that ends right."
)

# %% [markdown]
# Which students are needed for a fair answer? Each has one layer of 64 and takes 300 steps, on 500 sums unless its name says more:
#
# - *answers only*, and *three times as many*: as much arithmetic as a trace takes, spent on more sums;
# - *dots, then the answer* and *another sum's steps*: as many characters as a trace, the right answer at the end, and nothing
#   in between that leads to it. They are the controls for "more characters";
# - *steps by rule*, right ones: the cheapest rival, since no teacher is needed where a rule is known;
# - *the teacher's steps*, its first trace of each problem, and *its steps that end right*.
#
# A student is judged by new sums, 500 of them: the share in percent that it answers right, by the last character it writes. Who
# guesses is right in 20 %. The arithmetic in the table leaves out the teacher's training and writing.

# %%
adding = kd.study("13-traces", sums)
solved = adding.stored()
solved.differs()

# %% [markdown]
# **Predict**: many of the teacher's traces hold a slip. What does that cost a student that learns from all of them?

# %%
slips = kd.predict(
    "13.slips",
    "A student of all the teacher's traces, against one of those that end right,",
    options=["solves more sums", "solves fewer sums", "no clear difference"],
)
slips

# %%
solved.table().rename(columns={"pictures seen in training": "sums seen in training"})

# %%
filtered = solved.difference("the teacher's steps", "its steps that end right")
words = {"helps": "solves more sums", "hurts": "solves fewer sums"}
slips.answer(
    words.get(filtered.verdict, "no clear difference"),
    on=solved.figure(ylabel="sums answered right, %"),
)

# %% [markdown]
# Two of these students are trained again now, with the study's first seed. The table sets their scores beside the stored ones.
# One seed shows that it can be done, and no more.

# %%
pair = ("answers only", "its steps that end right")
adders = {arm: adding.recipes[arm].run(adding.seeds[0]) for arm in pair}
pd.DataFrame(
    {
        "now": {arm: lab.solved(model, sums.test) for arm, model in adders.items()},
        "stored": solved.scores.loc[adding.seeds[0], list(pair)],
    }
).round(1)

# %%
chosen, many = "its steps that end right", "answers only, three times as many"
over = {arm: solved.difference(chosen, arm) for arm in solved.scores if arm != chosen}
kd.claim("A teacher's steps teach more than three times as many answers", over[many])

# %%
kd.say(
    f"What *{chosen}* bring beyond the others, in percentage points of sums answered right: "
    + "; ".join(f"{arm}, {spread(found)} (**{found.verdict}**)" for arm, found in over.items())
    + "."
)

# %%
empty = ("dots, then the answer", "another sum's steps")
useful = [arm for arm in empty if solved.difference(arm).low > 0]
kd.say(
    "Is it the steps, or only more characters? Characters that lead nowhere bring "
    + (f"something too: **{', '.join(useful)}**. " if useful else "**no clear gain**. ")
    + f"Is it the teacher? Against steps by rule its own stand {spread(over['steps by rule'])} "
    + f"(**{over['steps by rule'].verdict}**). "
    + ("It brings more than the rule. " if over["steps by rule"].low > 0 else "")
    + "Where a rule is known, it writes the steps without a teacher; a teacher is for problems that have none."
)

# %% [markdown]
# Look at the single students in the figure, too: one that has not found the table of pairs when its steps are over drags its
# arm's interval apart.
#
# Two things to keep in mind. The task was made so that steps matter: each is easy, and the answer is a long chain of them. Where
# an answer takes one step, a trace has nothing to add. And the slips of this teacher go in all directions, so that the right step
# remains the likeliest one; a student that takes the likeliest character at each place can do without most of them. Of a teacher
# that makes the same mistake each time, a student would learn the mistake. There a test of the answers has more to do.
#
# ## The white box: the whole distribution
#
# **The question: what if the teacher says at each character how likely it finds every other?** Then the student can match all V
# numbers. The *forward* Kullback-Leibler divergence is
#
# $$\mathrm{KL}(p \,\|\, q) = \frac{1}{N L} \sum_{n,t} \sum_{v=1}^{V} p_{n,t,v} \, (\log p_{n,t,v} - \log q_{n,t,v})$$
#
# $p_{n,t,v}$ and $q_{n,t,v}$ are the probabilities that teacher and student give to character v at place t of text n. The sum
# over v belongs to a place, and the mean runs over the N · L places. The teacher reads each text once, and its answers are kept
# (`kd.TeacherCache`). Write it:

# %%
kd.exercise("13.forward_kl")


# %% tags=["exercise"] exercise="13.forward_kl"
def forward_kl(student_logits, teacher_logits):
    """Token logits (N, L, V) and (N, L, V) -> scalar; the teacher is a constant."""
    ...  # your code


# %%
forward_kl = kd.exercise("13.forward_kl").check(forward_kl)

# %% [markdown]
# ## The white box from a file
#
# **The question: a teacher's logits for a large vocabulary fill disks. How many must be kept?** Only the k largest probabilities
# are written down, with the numbers of their tokens: $K_t$ is the set of the k tokens at place t. What of the rest? There are
# two ways:
#
# $$\text{renormalised:} \quad \sum_{v \in K_t} \tilde{p}_v \log \frac{\tilde{p}_v}{q_v}$$
#
# $$\tilde{p}_v = \frac{p_v}{\sum_{u \in K_t} p_u}$$
#
# $$\text{and others:} \quad \sum_{v \in K_t} p_v \log \frac{p_v}{q_v} + p_{o} \log \frac{p_{o}}{q_{o}}$$
#
# $$p_{o} = 1 - \sum_{u \in K_t} p_u, \qquad q_{o} = 1 - \sum_{u \in K_t} q_u$$
#
# These are the sums at one place; the loss is their mean over the N · L places. $p_v$ and $q_v$ are teacher's and student's
# probability of token v, $\tilde{p}_v$ is the teacher's divided by the sum of what was kept, and u runs over the kept tokens.
# $p_o$ and $q_o$ are what teacher and student give to all *other* tokens together. Renormalised, the student is told that other
# tokens never occur. With "others" it learns how often they occur, but not which. With k = V both are the forward KL.
# `kd.losses.top_k` keeps the probabilities, `kd.losses.top_k_kl` compares.
#
# How large is the file, and how much of the probability does it hold? Each row of the table is a file with k probabilities for
# each character; the last one holds all logits.

# %%
from safetensors.torch import save

some = teacher(data.test.sample(min(100, len(data.test)), seed=1).inputs).detach().cpu()
sizes = {}
for k in (1, 2, lab.KEPT, 8, 16):
    chances, tokens = kd.losses.top_k(some, k)
    file = save({"log_chances": chances.half(), "tokens": tokens.to(torch.uint8)})  # V < 256
    held = chances.exp().sum(dim=2)
    sizes[f"top {k}"] = (
        len(file) / held.numel(),
        100 * held.mean().item(),
        100 * held.min().item(),
    )
sizes["all logits"] = (len(save({"logits": some.half()})) / some[..., 0].numel(), 100.0, 100.0)
columns = ["bytes a character", "probability kept, %", "at the worst place, %"]
pd.DataFrame.from_dict(sizes, orient="index", columns=columns).round(1)

# %% [markdown]
# With a vocabulary of 128,256 tokens (Llama 3) a token's logits take 256,512 bytes in half precision. Sixty-four of them with
# their numbers, 2 + 4 bytes each, take 384: for a billion tokens, 0.4 TB in place of 257 TB.

# %%
cut, others = f"top {lab.KEPT}, renormalised", f"top {lab.KEPT} and others"
kd.say(f"The whole distribution against the text alone: {said('forward KL')}.")
kd.say(f"Cut to {lab.KEPT} and renormalised, against all of it: {said(cut, 'forward KL')}.")
kd.say(
    f"Cut to {lab.KEPT} with the others' share, against all of it: {said(others, 'forward KL')}."
)
kd.say(f"The others' share against renormalising: {said(others, cut)}.")

# %% [markdown]
# ## Forward or reverse?
#
# **The question: a student that is too small for all that the teacher says must give something up. What?** The loss decides.
# First the smallest case there is: the teacher's distribution has two peaks, and the student is a single bump. It can be moved
# and widened, and no more. Which bump is best?
#
# The *reverse* KL weighs each token by the student's probability instead of the teacher's. The *generalised Jensen-Shannon
# divergence* (Agarwal et al. 2024) goes from one to the other:
#
# $$\mathrm{KL}(q \,\|\, p) = \frac{1}{N L} \sum_{n,t} \sum_{v} q_{n,t,v} \, (\log q_{n,t,v} - \log p_{n,t,v})$$
#
# $$\mathrm{JSD}_{\beta} = \beta \, \mathrm{KL}(p \,\|\, m) + (1 - \beta) \, \mathrm{KL}(q \,\|\, m)$$
#
# $$m = \beta p + (1 - \beta) q$$
#
# $m$ is a mixture of the two distributions, and $\beta$ within (0, 1) its share of the teacher. Near both ends this divergence
# goes to 0, whatever p and q are, so losses can be compared at one beta only. At the ends themselves it is defined by the
# limits of $\mathrm{JSD}_{\beta} / \beta$ and of $\mathrm{JSD}_{\beta} / (1 - \beta)$: beta = 0 is the forward KL, beta = 1 the
# reverse KL.
#
# The view below draws both distributions, and under them the loss of a student of this width by its center. While the box is
# ticked, it shows the best student for the chosen beta.
#
# **Predict**: where does the bump go at beta = 0, and where at beta = 1? In between, does it move little by little, or jump?

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
# Then take the tick away and move the bump yourself. At beta = 1 the loss of a narrow bump has a valley at each peak of the
# teacher; at beta = 0 it has one valley in all.

# %%
between = [peaks.between(*peaks.best(beta)) for beta in (0.0, 1.0)]
assert between[0] > 10 * between[1]
seeks.answer(seeks.options[between[1] < 0.1 * between[0]])
kd.say(
    f"The student of the forward KL puts **{between[0]:.0%}** of its probability between the peaks, where the teacher has "
    f"little: it *covers*. The student of the reverse KL puts {between[1]:.1%} there: it *seeks* one peak and ignores "
    f"the other."
)

# %%
covering, seeking = peaks.jump()
kd.say(
    f"In between the best bump does not move across little by little: up to beta = {covering:.3f} it covers, "
    f"from {seeking:.3f} on it seeks. There it jumps from {peaks.best(covering)[0]:+.1f} to {peaks.best(seeking)[0]:+.1f}. "
    f"Where it jumps depends on the peaks; it is no constant of the divergence."
)

# %% [markdown]
# Now write the reverse KL. It is the forward KL with $p$ and $q$ exchanged, but its gradient has one more part: the
# probabilities that weigh the sum are the student's, and they move too.

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
# Now your functions train: the forward and the reverse KL of the ladder again, with two of its seeds, by what you wrote (or by
# the reference, where you left an exercise blank). The table sets their foresight beside the stored one. Both should agree up to
# rounding.


# %%
class ByHand(kd.methods.Method):
    """A loss of two models' logits, as the training loop takes it."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, batch):
        return self.loss(batch.student_logits, batch.teacher_logits)


by_hand = {"forward KL": ByHand(forward_kl), "reverse KL": ByHand(reverse_kl)}
arms = {"text only": ladder.recipes["text only"]}
arms |= {arm: replace(ladder.recipes[arm], method=method) for arm, method in by_hand.items()}
again = kd.compare(arms, data, seeds=ladder.seeds[:2], metric=lab.short_foresight)
rungs["foresight"].beside(again, within=2)  # processors round differently

# %% [markdown]
# ## On policy: the student writes
#
# **The question: while it trains, a student continues given text; while it writes, it continues its own, mistakes and all. Can
# it learn there?** This gap is called *exposure bias*. On-policy distillation (generalised knowledge distillation, GKD, Agarwal
# et al. 2024) is meant to close it: the student writes, and the teacher says at each character how likely it finds every next
# one.
#
# $$\mathcal{L}_{\text{GKD}} = \frac{1}{N (L - P)} \sum_{n} \sum_{t > P} D(p_{n,t}, \, q_{n,t})$$
#
# $$p_{n,t} = p(\cdot \mid \hat{y}_{n,<t}), \qquad q_{n,t} = q(\cdot \mid \hat{y}_{n,<t})$$
#
# $$\hat{y}_n \sim q(\cdot \mid x_n)$$
#
# $x_n$ are the first P given characters, $\hat{y}_n$ what the *student* writes after them, up to length L. $D$ is a divergence
# at one place, such as the reverse KL. **No gradient flows through the sampling**: $\hat{y}$ is taken as given text, and only
# the distributions at its places are pulled together.
#
# *MiniLLM* (Gu et al. 2024) has another aim, the reverse KL between whole texts, and takes the sampling into account, by policy
# gradients:
#
# $$\nabla \mathrm{KL}(q \,\|\, p) = -\,\mathbb{E}_{\hat{y} \sim q} \sum_{t} R_t \, \nabla \log q(\hat{y}_t \mid \hat{y}_{<t})$$
#
# $$R_t = \sum_{s \ge t} \log \frac{p(\hat{y}_s \mid \hat{y}_{<s})}{q(\hat{y}_s \mid \hat{y}_{<s})}$$
#
# $\nabla$ is the gradient in the student's weights, $\mathbb{E}$ the mean over texts that the student writes, and $R_t$ the
# reward of character t: how much likelier the teacher finds it, and all that follows it (s ≥ t), than the student does. So a
# choice is blamed for what it leads to later. GKD with the reverse KL keeps the part s = t: it corrects each place, not the way
# there. MiniLLM's estimate is noisy and needs tricks to stay stable; GKD is a loss like any other.
#
# Both cost more at each step. The student writes (about one pass) and learns from what it wrote (about three: a backward pass
# takes two), and the teacher must be asked anew each time. Nothing can be cached.

# %%
kd.exercise("13.on_policy_loss")


# %% tags=["exercise"] exercise="13.on_policy_loss"
def on_policy_loss(text, prompt, write, student, teacher, loss):
    """text (N, L); write(prompts, length) -> (N, prompt + length); student(text), teacher(text) -> logits -> scalar."""
    ...  # your code


# %%
on_policy_loss = kd.exercise("13.on_policy_loss").check(on_policy_loss)

# %%
beginner = ladder.recipes["text only"].student.untrained(seed=0).to(data.train.device)
eight = data.train.sample(8, seed=0).inputs
with torch.no_grad():
    given = reverse_kl(beginner(eight), teacher(eight)).item()
    own = on_policy_loss(eight, 16, beginner.write, beginner, teacher, reverse_kl).item()
kd.say(
    f"By your functions: a student that has learnt nothing is {given:.2f} nats a character away "
    f"from its teacher on given text (a nat is the unit of the natural logarithm), and "
    f"{own:.2f} on the text that it writes itself."
)

# %% [markdown]
# ## Measure the divergences and the student's own text
#
# The longer comparison: each arm learns for 200 steps on batches of 32. *Sequence level* has a continuation of each of its 600
# windows here, its rival twice as much text. In *on policy* the student writes, and learns by the reverse KL. *Half forward KL,
# half on policy* changes two things at once, the divergence and the text. Beside it stands a *control*, an arm that differs in
# one thing only: *half forward, half reverse KL* on given text.
#
# What else differs between the arms? The first table says it; *sequence level* counts its windows twice, as above. The next
# ones hold each arm against *text only*. *Holm* is the verdict that is left when the number of comparisons is allowed for.

# %%
study = kd.study("13-language", data)
foresight, fluency, variety = (study.stored(suffix) for suffix in ("", "-written", "-variety"))
foresight.differs()

# %% [markdown]
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
# All three side by side, with the teacher's own numbers and, for variety alone, that of the text that it was tested on:

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
    f"Foresight: the whole distribution (forward KL) brings {gain} over the text alone, twice as much text "
    f"{foresight.difference(more_text)}. The first against the second: {foresight.difference('forward KL', more_text)} "
    f"(**{foresight.difference('forward KL', more_text).verdict}**)."
)
kd.say(
    f"The teacher's writing brings {foresight.difference(written)} ({foresight.difference(written).verdict}); against as much "
    f"text by its authors it is {foresight.difference(written, more_text)} "
    f"(**{foresight.difference(written, more_text).verdict}**)."
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
    f"We believed that on-policy distillation buys fluency without losing foresight. The arm that "
    f"showed it was half forward KL, so the divergence had changed too. Against the same mixture of divergences on given text, the student's own text changes foresight by {foresight.difference(mixed, control)} "
    f"(**{foresight.difference(mixed, control).verdict}**), fluency by {fluency.difference(mixed, control)} "
    f"(**{fluency.difference(mixed, control).verdict}**) and variety by {variety.difference(mixed, control)}."
)

# %% [markdown]
# Mind what even this comparison leaves open: what the student writes is new at every step, the given text is the same 600
# windows again and again. Part of a gain may be that there is more text, whoever wrote it.
#
# ## A draft for its teacher
#
# **The question: a student is worse than its teacher. What is it good for, where only the teacher's text will do?** It can make
# the teacher faster, and change nothing of what the teacher writes.
#
# In *speculative decoding* (Leviathan et al. 2023) the student is called the *draft*. It proposes γ (gamma) tokens, one after
# another. The teacher then looks at all of them in *one* pass, called a *call* here. From left to right, a proposal x, drawn
# from the draft's q, is kept with the chance
#
# $$a(x) = \min\Big(1, \frac{p(x)}{q(x)}\Big)$$
#
# If it is refused, another token v is drawn in its place, with the probability
#
# $$r(v) = \frac{\max(0, \, p(v) - q(v))}{\sum_{u} \max(0, \, p(u) - q(u))}$$
#
# $p$ and $q$, of shape (V,), are the teacher's and the draft's distributions at this place; u runs over all V tokens. After the
# first refusal the rest of the draft is thrown away. If nothing is refused, the teacher's pass gives one more token.
#
# Why is the text not worse? A token v comes out as a kept proposal with the probability $\min(p(v), q(v))$. As a redrawn token
# it comes out with what is missing, $\max(0, p(v) - q(v))$. Together that is $p(v)$. So the text has *exactly* the teacher's
# distribution, whatever the draft; a poor draft only costs more calls. A test of this course proves it by going through all that
# can be drawn from a small vocabulary.
#
# One call of the teacher brings from 1 to γ + 1 tokens. Their mean number τ (tau) says how good a draft is. If one pass of the
# draft takes the share c of the teacher's time, the text is written $\tau / (1 + \gamma c)$ times as fast.
#
# **Predict**: does distillation make a better draft, at equal text and steps?

# %%
drafts_better = kd.predict(
    "13.draft",
    "Drafting four characters at a time, a student of the forward KL against one of the text alone",
    options=["is the better draft", "is the worse draft", "no clear difference"],
)
drafts_better

# %%
kd.exercise("13.accept")


# %% tags=["exercise"] exercise="13.accept"
def accept(p, q, proposal):
    """Teacher's and draft's probabilities (V,) and a token drawn from q -> the chance to keep it, what else to draw from (V,)."""
    ...  # your code


# %%
accept = kd.exercise("13.accept").check(accept)

# %% [markdown]
# First an example. Near temperature 0 both models take the likeliest character, so the text must be the teacher's to the
# letter. The draft is the student that your forward KL has trained above; the rule is yours.

# %%
prompts = lab.prompts(data.test)
draft = again.students["forward KL"][0]
cold = {"temperature": 1e-3}
text, calls = kd.speculative.speculate(teacher, draft, prompts[0], 48, rule=accept, **cold)
assert text.equal(teacher.write(prompts[:1], 48, **cold)[0])
pd.DataFrame(
    {"with a draft": [data.decode(text)], "characters": [48], "calls of the teacher": [calls]}
)

# %% [markdown]
# How many characters does a call bring, with γ = 4, for each arm of the ladder? It is measured on text that the teacher wrote.
# There x stands with the probability p(x), and as a kept proposal with min(p(x), q(x)). So a character x of that text was a
# kept proposal with the chance min(1, q(x) / p(x)), and nothing has to be drawn (`kd.speculative.tokens_per_call`). Each row
# shows the mean over five students, and the paired difference from the undistilled ones, which learnt from the text only.

# %%
drafts = rungs["drafts"]
undistilled = {arm: drafts.difference(arm) for arm in drafts.scores if arm != "text only"}
pd.DataFrame(
    {
        "characters a call": {
            arm: spread(kd.difference(drafts.scores[arm]), ".2f") for arm in drafts.scores
        },
        "against the undistilled": {arm: spread(found) for arm, found in undistilled.items()},
        "verdict": {arm: found.verdict for arm, found in undistilled.items()},
    }
).loc[list(drafts.scores)].fillna("")

# %% [markdown]
# The figure shows the same, counted over 100 calls, so that small differences can be read: a point is one character in 100
# calls.

# %%
hundred = replace(drafts, scores=100 * drafts.scores)
words = {"helps": "is the better draft", "hurts": "is the worse draft"}
drafts_better.answer(
    words.get(undistilled["forward KL"].verdict, "no clear difference"),
    on=hundred.figure(ylabel="characters in 100 calls of the teacher"),
)

# %%
kd.say(
    "Characters a call, against the undistilled draft: "
    + "; ".join(
        f"{arm} {spread(undistilled[arm])} (**{undistilled[arm].verdict}**)"
        for arm in ("forward KL", "reverse KL", "sequence level")
    )
    + "."
)

# %% [markdown]
# Does this save seconds? That depends on the draft's share of the teacher's time, and this teacher is very small. So the time is
# measured. In the table, γ = 0 is the teacher alone, by the same code. A larger γ asks the teacher less often and throws more of
# the draft away. The last two columns are computed by the formula: with the share c as it is here, and with c = 4 %.


# %%
def write(ahead, count=3):
    """How often the teacher is asked for `count` texts."""
    given = {"ahead": ahead, "rule": accept}
    return sum(
        kd.speculative.speculate(teacher, draft, prompts[n], 48, seed=n, **given)[1]
        for n in range(count)
    )


window = data.test.inputs[:1]
share = kd.measure.seconds(lambda: draft(window), 30) / kd.measure.seconds(
    lambda: teacher(window), 30
)
timed = {
    ahead: {
        "characters a call": 3 * 48 / write(ahead),
        "seconds a text": kd.measure.seconds(partial(write, ahead), 2, warm_up=0) / 3,
    }
    for ahead in (0, 1, 2, 4)
}
timed = pd.DataFrame(timed).T.rename_axis("gamma")
timed["as fast, measured"] = timed["seconds a text"].iloc[0] / timed["seconds a text"]
timed["as fast, by the formula"] = timed["characters a call"] / (1 + timed.index * share)
timed["with a draft of 4 % of the time"] = timed["characters a call"] / (
    1 + timed.index * 0.04
)
timed.round(3)

# %%
fastest = timed["as fast, measured"].idxmax()
saved = timed["seconds a text"].iloc[0] - timed["seconds a text"].loc[fastest]
found = (
    f"a draft of {fastest} saves {saved:.3f} seconds a text"
    if fastest
    else "no draft saves any seconds"
)
kd.say(
    f"The teacher alone takes {timed['seconds a text'].iloc[0]:.3f} seconds a text, and a pass of this draft takes {share:.0%} "
    f"of the time of the teacher's: {found} here. With the same acceptance and a draft that takes 4 % of the time, as a model of 0.6 "
    f"billion parameters does, about, beside one of 14 billion, {timed.index[-1]} proposals would make it "
    f"{timed['with a draft of 4 % of the time'].iloc[-1]:.1f} times as fast."
)

# %% [markdown]
# ## Another tokenizer
#
# **The question: the teacher cuts text into other tokens, or numbers them otherwise. What can still be compared?** Number by
# number, nothing: number 17 is one string in one vocabulary and another string in the other. Take the smallest case: a teacher
# that says the same of the same characters, but numbers them in another order.

# %%
other = lab.OtherAlphabet(teacher)
window = data.test.inputs[:8]
with torch.no_grad():
    same, renumbered = teacher(window), other(window)
kd.say(
    f"By number, a teacher and its renumbered self are {forward_kl(same, renumbered).item():.1f} nats a character apart "
    f"(forward KL), though they say the same; by sorted probabilities, {kd.losses.universal_logit(same, renumbered).item():.1f}."
)

# %% [markdown]
# There are two repairs. The first goes *through text*: sequence level, as above, needs no common vocabulary, since text is text.
# The second is *universal logit distillation* (ULD, Boizard et al. 2024). It sorts both distributions before it compares them:
#
# $$\mathcal{L}_{\text{ULD}} = \mathcal{L}_{\text{text}} + \frac{\lambda}{N L} \sum_{n,t,i} | q_{n,t}^{(i)} - p_{n,t}^{(i)} |$$
#
# $q_{n,t}^{(i)}$ and $p_{n,t}^{(i)}$ are the i-th largest probabilities of student and teacher at place t of text n, and i runs
# over the larger vocabulary. The distribution over the smaller one is filled up with zeros. λ (lambda) is the weight of the
# second term: 1.5, as in the paper. The second term is a Wasserstein distance (how much probability must be moved, and how far)
# in which all tokens are equally far from each other. It says how *sure* the teacher is, not of *what*: the text must say that.
# In the ladder, *other alphabet, sorted* learns by it:

# %%
kd.say(f"Sorted probabilities, against the text alone: {said('other alphabet, sorted')}.")
kd.say(f"Against the repair through text: {said('other alphabet, sorted', 'sequence level')}.")
kd.say(
    f"What another alphabet costs, against the forward KL in one's own: {said('other alphabet, sorted', 'forward KL')}."
)

# %% [markdown]
# ### Tokens that are cut at other places
#
# **The question: what if the teacher's tokens are longer than the student's?** The smallest case again: a teacher whose tokens
# are two characters each, made of the one that we have, so that it says the same. After the text x, a pair of characters v and w
# has the probability
#
# $$p_{\text{pairs}}(vw \mid x) = p(v \mid x) \, p(w \mid x v)$$
#
# There are V² such tokens, and a text of L characters has L / 2 of them. Two things go wrong when they are compared one by one.
# Token number t of the teacher stands twice as far on in the text as character t of the student: their *places* differ. And even
# after the same text, one speaks of two characters and the other of one: their *tokens* differ. ULD sees neither. It compares
# place t with place t, and where one text has more tokens than the other, it leaves the rest out.
#
# The repair goes by the text. Compare only at places where both have read the same characters, here after each whole pair. There
# add up all tokens that begin alike:
#
# $$p(v \mid x) = \sum_{w=1}^{V} p_{\text{pairs}}(vw \mid x)$$


# %%
@torch.no_grad()
def in_pairs(text):
    """Text (N, L) -> log-probabilities (N, L / 2, V, V) of the next pair, after each whole pair, by the teacher."""
    size = len(data.alphabet)
    first = teacher(text).log_softmax(dim=2)[:, 1::2, :, None]
    tried = torch.arange(size, device=text.device).repeat(len(text))[:, None]
    second = [
        teacher(torch.cat([text[:, :end].repeat_interleave(size, dim=0), tried], dim=1))[:, -1]
        for end in range(2, text.shape[1] + 1, 2)
    ]
    second = torch.stack(second, dim=1).log_softmax(dim=2)
    return first + second.view(len(text), size, -1, size).transpose(1, 2)


begun = window[:, :16]
by_pairs = in_pairs(begun)
with torch.no_grad():
    by_one = teacher(begun)
sorted_distance = kd.losses.universal_logit
distances = {
    "place t with place t": sorted_distance(by_one[:, :8], by_pairs.flatten(2)).item(),
    "after the same text": sorted_distance(by_one[:, 1::2], by_pairs.flatten(2)).item(),
    "after the same text, summed": sorted_distance(
        by_one[:, 1::2], by_pairs.logsumexp(3)
    ).item(),
}

# %% [markdown]
# Both sides are one and the same teacher, so each number of the table should be 0. It is the distance of the sorted
# probabilities, which is 2 at most.

# %%
pd.DataFrame({"distance from itself": distances}).round(2)

# %%
repaired = kd.losses.generalized_jsd(by_one[:, 1::2], by_pairs.logsumexp(3), beta=0).item()
assert abs(repaired) < 1e-3 < distances["after the same text"]
kd.say(
    f"Cut at other places, the teacher is {distances['place t with place t']:.2f} from itself. Of that "
    f"{distances['after the same text']:.2f} are left at the same places of the text, where the tokens differ, and "
    f"{distances['after the same text, summed']:.2f} when the tokens that begin alike are added up. Then even the "
    f"forward KL can be used again: it is {abs(repaired):.2f} nats."
)

# %% [markdown]
# With a real tokenizer a token may begin within one of the student's, so that the two meet only at some places. Newer methods
# (such as GOLD in the library TRL, at the end of this lab) align the pieces that spell the same string in this way, and compare
# the tokens that both vocabularies have by name. That last step would repair the renumbered alphabet completely.
#
# ## Read what they write
#
# The same beginning, continued by the teacher, by a student that learnt from text only, and by the students that your two
# divergences have trained. In the table `\n` stands for a new line. Does the text get worse with the distance from what was
# given?

# %%
writers = {"the teacher": teacher} | {arm: again.students[arm][0] for arm in again.students}
texts = {
    name: data.decode(model.write(prompts[:1], 48, seed=1)[0])
    for name, model in writers.items()
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
# How unlikely does the teacher find each character that a student writes? If mistakes add up, the curve rises with the distance
# from the given text. The figure shows one student of each kind. A point is the mean of eight characters, over 100 beginnings:

# %%
paths = {
    name: kd.measure.free_running_loss(model, teacher, prompts, 48)
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
# A verdict needs more than one student. By how much, in percent, does the fluency of the second half of what is written fall
# below that of the first? The fluency of the teacher's own writing changes too, and that is no mistake: the text gets away from
# its beginning. So what counts is a student's fall beyond the teacher's. The table shows it for each arm of the longer
# comparison, over its five students and over five times that the teacher wrote.


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
    f"The teacher's text falls by {sum(own_fall) / len(own_fall):.1f} % (below 0 it rises). The writing of these arms "
    f"falls clearly more: **{'; '.join(rising) or 'none'}**. Where a student learns on its own text in place of given text, the "
    f"fall is smaller by "
    + ", ".join(f"{found} with {name} (**{found.verdict}**)" for name, found in less.items())
    + "."
)

# %% [markdown]
# ## When it does not help: a student that begins with noise
#
# We believed that a student with fresh weights cannot learn from what it writes: it writes noise, and the teacher comments on
# noise. But the arm that we took for proof had the reverse KL as well, and was held against the forward KL on given text. So
# here are all four combinations: given text or the student's own, forward or reverse KL, after 60 steps. Own text takes three
# times the arithmetic; nothing else differs.
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
    f"Reverse in place of forward KL: {by_divergence['given']} on given text, {by_divergence['own']} on its own. "
    f"Own text in place of given: {by_text['forward']} with the forward KL (**{by_text['forward'].verdict}**), "
    f"{by_text['reverse']} with the reverse (**{by_text['reverse'].verdict}**). "
    f"Own text with the forward KL stands {crosswise} against given text with the reverse: **{crosswise.verdict}**."
)
kd.claim(
    "From noise, the reverse KL costs more foresight than the student's own text", crosswise
)
words = {"helps": "the reverse KL", "hurts": "its own text"}
costs_more.answer(
    words.get(crosswise.verdict, "no clear difference"), on=noise.figure(ylabel="foresight, %")
)

# %% [markdown]
# The reverse KL weights each character with the student's own probability. A student that has learnt nothing gives likely
# characters no more than others. That is a reason to begin with a student that can already write, whether the text is given or
# its own.
#
# ## At full size
#
# So far the student had 600 windows. On a GPU it learns from the whole text. The divergences are those that Agarwal et al.
# (2024) compare.

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
# ## On a model of today, with TRL
#
# This is the same on-policy distillation for pretrained models, with Hugging Face's library TRL (version 1.16;
# `pip install trl peft`). Names in it move between versions; where TRL is installed, a test of this course runs this block on a
# tiny random model. Only low-rank matrices are trained (*LoRA*): the student's own weights stay, and beside each matrix of shape
# (d, e) two thin ones, (d, r) and (r, e), are trained.
#
# ```python
# from datasets import Dataset
# from peft import LoraConfig
# from trl import DistillationConfig, DistillationTrainer
#
#
# def distil(student, teacher, prompts, tokenizer=None, **settings):
#     """student, teacher: names or models of one vocabulary. prompts: a list of texts, from which the student goes on."""
#     chosen = {"output_dir": "distilled", "beta": 1.0, "learning_rate": 1e-4}
#     chosen |= {"max_completion_length": 256, "per_device_train_batch_size": 8, **settings}
#     trainer = DistillationTrainer(
#         model=student,
#         teacher_model=teacher,
#         args=DistillationConfig(**chosen),
#         train_dataset=Dataset.from_dict({"prompt": prompts}),
#         processing_class=tokenizer,
#         peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
#     )
#     trainer.train()
#     return trainer
#
#
# half = {"dtype": "bfloat16"}
# # distil("Qwen/Qwen3-0.6B", "Qwen/Qwen3-4B", prompts, max_steps=300, model_init_kwargs=half, teacher_model_init_kwargs=half)
# ```
#
# `beta` is the one of `generalized_jsd` (0 forward, 1 reverse KL). `DistillationTrainer` is on policy at every step.
# `trl.experimental.gkd.GKDTrainer` has `lmbda`, the share of steps on the student's own text, and
# `trl.experimental.gold.GOLDTrainer` takes a teacher with another tokenizer (`use_uld_loss`). For sequence level, `SFTTrainer`
# on the teacher's texts is all that is needed.
#
# What memory and time does it need? Here is the arithmetic for a student of 0.6 and a teacher of 4 billion parameters:

# %%
weights, teachers, vocabulary, low_rank = 0.6e9, 4.0e9, 151_936, 10e6
batch, prompted, answer_length, steps = 8, 128, 256, 300
logits = batch * answer_length * vocabulary
gigabytes = {
    "student and teacher, 2 bytes a weight": 2 * (weights + teachers),
    "LoRA: weight, gradient and two moments, 4 bytes each": 16 * low_rank,
    "logits of both and a gradient, 4 bytes, if held at once": 3 * 4 * logits,
    "activations that are kept, about": 2e9,
}
memory = sum(gigabytes.values()) / 1e9
# For each token a GPU of 300 GB/s (L4, T4) reads all weights, and no token takes less than 20 ms to launch.
writing = answer_length * max(2 * weights / 300e9, 0.02)
operations = 2 * batch * (prompted + answer_length) * (3 * weights + teachers)
minutes = steps * (writing + operations / 20e12) / 60  # 20 Tflop/s reached

# %%
kd.say(
    "; ".join(f"{name}: {size / 1e9:.1f} GB" for name, size in gigabytes.items())
    + f". Together {memory:.0f} GB: a GPU of 24 GB, or a batch of 4 on one of 16. {steps} steps of {batch} answers with "
    f"{answer_length} tokens take about {minutes:.0f} minutes, most of them for writing. Not tried here: this is an estimate."
)

# %% [markdown]
# ## Recap
#
# - A language model is distilled token by token; the divergence decides what a small student gives up. Forward KL covers,
#   reverse KL seeks.
# - A teacher can write the training text: hold it against as much more text, and the best of several texts against the first.
# - Where a problem takes several steps, a student of few sums learnt them from the steps and not from the answers, and
#   characters that lead nowhere did not stand in for them.
# - A few of the teacher's probabilities and the share of all others fit into a file. Four of them taught less than all.
# - The teacher can comment on the student's own text: hold that against the same divergence on given text.
# - Judge by foresight, fluency, variety, and by what the student is worth as a draft. A draft changes nothing of the text and
#   may save time.
# - A student that learnt the teacher's whole distribution is a better draft than one of the text alone, by little.
# - With another tokenizer compare texts, or sorted probabilities; never index with index. Here the sorted ones cost foresight.
#   Where tokens are cut at other places, compare after the same text.
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
# - `kd.methods.TopK(1)` and `kd.methods.TopK(16)`: from which k on is nothing lost?
# - Your own text in the place of Shakespeare's: `kd.zoo.retrain_language` shows how the teacher was made.
#
# ### Read further
#
# - Kim, Rush (2016), *Sequence-Level Knowledge Distillation*.
# - Ho, Schmid, Yun (2023), *Large Language Models Are Reasoning Teachers*. Hsieh et al. (2023), *Distilling Step-by-Step!*
#   Zelikman et al. (2022), *STaR*, and Yuan et al. (2023), *Scaling Relationship on Learning Mathematical Reasoning with LLMs*:
#   traces that end right. Pfau et al. (2024), *Let's Think Dot by Dot*: when dots do help.
# - Agarwal et al. (2024), *On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes*. Gu et al. (2024),
#   *MiniLLM*.
# - Leviathan, Kalman, Matias (2023), *Fast Inference from Transformers via Speculative Decoding*. Zhou et al. (2024),
#   *DistillSpec*: distilled drafts.
# - Boizard et al. (2024), *Towards Cross-Tokenizer Distillation: the Universal Logit Distillation Loss for LLMs*.
# - Ranzato et al. (2016), *Sequence Level Training with Recurrent Neural Networks*: exposure bias.
