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
# # Steal and defend
#
# Who can ask a network can distil it. So a model that is sold by the answer can be copied by its customers, and a model that learnt from
# medical records may tell strangers about them. This lab puts a small model of yours behind an interface, copies it, defends it, and
# asks of each defence what honest users pay for it.
#
# Words of earlier labs are in the [glossary](../docs/glossary.md): *logits*, the numbers before the softmax; *temperature*, what they are
# divided by; *arm*, one of the recipes that are compared; *seed*, a number that fixes all luck of a run; and *verdict*.
#
# **You will** count the queries that a copy needs, build a teacher that misleads its copies, mark a model, and publish a student of votes.
# **You will learn** what an interface gives away, which defences a thief undoes, what the others cost, and what you may distil from whom.
# **You need** lab 03. **Time:** 60 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
import math
from functools import partial

import ipywidgets as widgets
import pandas as pd
import torch
from torch.nn import functional as F

data = kd.load_images()
lab = kd.studies.lab_16

# %% [markdown]
# ## A model behind an interface
#
# **The question:** what can somebody learn who may only ask?
#
# ```text
# owner's pictures, labels ──▶ owner's model ──▶ interface ──▶ answers ──▶ copy
#                                                   ▲                       ▲
#                                   thief's queries ┴───────────────────────┘
# ```
#
# The *owner* has 10,000 labelled pictures and a model. The *thief* has other pictures of the same kind, without labels. Each picture that
# it sends is a *query*. It never sees weights or logits. What it sees is made of the probabilities
#
# $$p = \mathrm{softmax}(z), \quad a = g(p)$$
#
# - $z$ are the logits of the owner's model, of shape (N, C) for N queries and C classes; $p$ are its probabilities, of the same shape.
# - $g$ is what the interface shows of them, and $a$, of shape (N, C), what the thief makes of that: rows that add to 1.
#
# Four kinds of $g$ are common: all *probabilities*; probabilities *rounded* to one decimal; the *top 3* of them; the *label* alone, the
# class with the largest. The figure shows one picture and what each interface says to it.

# %%
owner = lab.owners_model(data, 0)
queries = lab.natural(data, 200, 0)
with torch.no_grad():
    probabilities = owner(queries.images).softmax(dim=1)
unsure = int(probabilities.max(dim=1).values.argmin())  # of this one there is most to tell
said = {name: show(probabilities[[unsure]])[0] for name, show in lab.ANSWERS.items()}
kd.plots.opinions(data.pictures(queries.images[[unsure]])[0], "one query", said, data.classes)

# %% [markdown]
# With the top 3 the thief has to say something about the other classes. Of what the k shown ones leave of 1, it gives each of the other
# C − k classes an equal part.

# %%
kd.exercise("16.top_answers")


# %% tags=["exercise"] exercise="16.top_answers"
def top_answers(probabilities, k):
    """Probabilities (N, C) -> (N, C): the k largest of each row as they are, the others share the rest evenly."""
    ...  # your code


# %%
top_answers = kd.exercise("16.top_answers").check(top_answers)
assert torch.allclose(
    top_answers(probabilities, 3), kd.interface.top(probabilities, 3), atol=1e-6
)

# %% [markdown]
# ## Copy it
#
# The copy is the student of lab 03, with the answers as its only teacher:
#
# $$L = T^2 \, \mathrm{KL}\left(a^{T} \,\|\, q^{T}\right), \quad a^{T} = \mathrm{softmax}\left(\frac{\log a}{T}\right), \quad q^{T} = \mathrm{softmax}\left(\frac{s}{T}\right)$$
#
# - $s$ are the copy's logits, of shape (N, C). It is smaller than the owner's model: 64 hidden units, not 256.
# - $T$ is the temperature, 4 here. The thief needs no logits to soften an answer: the logarithms of probabilities are logits too.
# - A label alone has nothing to be softened, and is learnt at $T = 1$.
#
# Besides the pictures that it has, *natural* queries, the thief can make some. *Synthetic* queries are blends of two out of 100 natural
# pictures, each shifted a little. *Random* queries are pixels without any sense. The *rival*, what is as simple and needs no model to
# steal from: the thief labels its pictures *by hand*.
#
# **Predict**: the thief has 1,600 natural queries. What do probabilities bring it over labels alone?

# %%
soft_or_hard = kd.predict(
    "16.soft-or-hard",
    "1,600 natural queries: probabilities, compared with labels alone",
    options=["helps", "hurts", "no clear difference"],
)
soft_or_hard

# %% [markdown]
# **Predict**: how good is a copy that has seen nothing but 6,400 random pictures?

# %%
from_noise = kd.predict("16.from-noise", "Its test accuracy:", between=(0, 100), unit="%")
from_noise

# %%
study = kd.study("16-queries", data)
stored = study.stored()
defended = kd.study("16-defences", data).stored()


def line(queries, answer):
    """Seeds × numbers of queries."""
    return stored.scores[
        [lab.asked(queries, answer, count) for count in lab.COUNTS]
    ].to_numpy()


VIEWS = {
    "what is shown": {
        answer: line("natural", answer) for answer in (*lab.ANSWERS, lab.BY_HAND)
    },
    "what is asked": {
        kind: line(kind, "probabilities") for kind in ("natural", "synthetic", "random")
    },
}

# %% [markdown]
# All curves were measured before with five seeds, each with an owner and a thief of its own, and stored (`kdcourse results 16` repeats
# them). The axis of the queries is logarithmic: each mark is four times the one before. The bands are 95 % intervals, and the dashed line is
# the owner's model. Switch between what is shown and what is asked, and move the dotted line.


# %%
def draw(by, count):
    place, views = lab.COUNTS.index(count), VIEWS[by]
    figure = kd.plots.curves(
        lab.COUNTS,
        views,
        xlabel="queries",
        ylabel="test accuracy of the copy, %",
        levels={"owner": defended.scores["owner"]},
        logarithmic=True,
    )
    figure.axes[0].axvline(count, color="black", linestyle=":", linewidth=1)
    found = ", ".join(
        f"{name} {kd.difference(s[:, place]).mean:.1f} %" for name, s in views.items()
    )
    figure.description = f"By {by}, after {count:,} queries: {found}."
    return figure


# %%
browser = kd.widgets.live(
    draw,
    by=widgets.ToggleButtons(options=list(VIEWS), description="compare by"),
    count=widgets.SelectionSlider(
        options=[(f"{count:,}", count) for count in lab.COUNTS],
        value=1600,
        description="queries",
    ),
)
browser

# %% tags=["widget-test"]
with browser.restored():
    for by, views in VIEWS.items():
        for count in lab.COUNTS:
            browser.move(by=by, count=count)
            assert all(name in browser.description for name in views)

# %%
ASKED = lab.ASKED


def shown(answer, count=ASKED):
    return lab.asked("natural", answer, count)


soft = stored.difference(shown("probabilities"), shown("label"))
soft_or_hard.answer(soft.verdict)
random_copy = stored.scores[lab.asked("random", "probabilities", lab.COUNTS[-1])].mean()
from_noise.answer(random_copy)

# %% [markdown]
# The table sets each kind of answer against the label alone, at every number of queries, with its verdict.

# %%
against_label = {
    f"{count:,} queries": {
        name: stored.difference(shown(name, count), shown("label", count)).told(bold=False)
        for name in ("probabilities", "rounded", "top 3", lab.BY_HAND)
    }
    for count in lab.COUNTS
}
pd.DataFrame(against_label).T

# %%
hand = stored.difference(shown("label"), shown(lab.BY_HAND))
blends = stored.difference(
    lab.asked("synthetic", "probabilities", ASKED), shown("probabilities", 100)
)
pixels = kd.difference(stored.scores[lab.asked("random", "probabilities", lab.COUNTS[-1])])
kd.say(
    f"With {ASKED:,} queries, probabilities bring {soft.told()} over labels alone. Against the same pictures labelled by "
    f"hand, the interface's labels bring {hand.told()}. With 100 pictures of its own, a thief that asks {ASKED:,} blends of "
    f"them gains {blends.told()} over asking the hundred. Random pixels alone lead to {pixels.level(unit=' %')}."
)

# %% [markdown]
# To check the ledger, two of the copies are made again now, with three seeds.

# %%
again = study.run(shown("label"), shown("probabilities"), seeds=3)
stored.beside(again, within=3)  # processors round differently

# %% [markdown]
# Accuracy is one aim of a thief. *Fidelity*, to answer as the owner's model does, also where it is wrong, is another; whoever wants to find
# the model's weak spots needs that one. The table shows both for the copies of seed 0.

# %%
copies = {name: again.students[shown(name)][0] for name in ("label", "probabilities")}
pd.DataFrame(
    {
        name: {
            "accuracy, %": kd.measure.accuracy(copy, data.test),
            "fidelity, %": kd.measure.agreement(copy, owner, data.test),
        }
        for name, copy in copies.items()
    }
).T.round(1)

# %% [markdown]
# **In the papers.** Tramèr et al. (2016) found the weights of logistic regressions exactly, by solving equations; where only labels were shown
# their attacks needed many more queries. Orekondy et al. (2019) copied an image-recognition service that they knew from outside alone, for about 30 dollars.
# Truong et al. (2021) ask pictures that a generator makes, and with 20 million queries reached 0.92 of
# the owner's accuracy on CIFAR-10. Theirs are convolutional
# networks and full images, here they are small perceptrons: compare the shapes of curves, not their heights.
#
# ## Defend it: show less, add noise, mislead
#
# **What can the owner change without losing customers?** Three defences, and for each its *price*: what an honest user loses who asks
# for an answer and not for a copy.
#
# - **Show the label alone.** The classes stay right. What honest users lose is the confidence: they cannot tell a sure answer from a
#   guess, and cannot set a threshold as in lab 14.
# - **Add noise** to the logits, normal with a standard deviation of 2, the same for the same picture, so that asking twice does not average it away.
# - **Mislead.** A *nasty teacher* (Ma et al. 2021) is trained to be right and to say odd things beside it:
#
# $$L = \mathrm{CE}(z, y) - \omega \, T^2 \, \mathrm{KL}\left(p^{T} \,\|\, q^{T}\right), \quad p^{T} = \mathrm{softmax}(t / T), \quad q^{T} = \mathrm{softmax}(z / T)$$
#
# Here $z$ are the nasty network's logits and $t$ those of a normally trained one, both of shape (N, C); $y$, of shape (N,), are the labels;
# $T = 4$ is a temperature; $\omega$, the weight, says how much accuracy may be risked for nastiness. Lab 03's loss with a minus.

# %%
kd.exercise("16.nasty_loss")


# %% tags=["exercise"] exercise="16.nasty_loss"
def nasty_loss(nasty, normal, labels, weight, temperature):
    """Logits (N, C) of both networks, labels (N,) -> cross-entropy less weight times the softened divergence, a scalar."""
    ...  # your code


# %%
nasty_loss = kd.exercise("16.nasty_loss").check(nasty_loss)

# %% [markdown]
# The figure shows what the nasty owner says to the picture from above. Is the winner still the same? What became of the others?

# %%
nasty = lab.nasty_model(data, 0)
with torch.no_grad():
    odd = nasty(queries.images).softmax(dim=1)
sides = {"normal": probabilities[unsure], "nasty": odd[unsure]}
kd.plots.opinions(data.pictures(queries.images[[unsure]])[0], "one query", sides, data.classes)

# %% [markdown]
# **Predict**: a thief distils the nasty owner at $T = 4$. What does nastiness do to the copy, compared with a copy of the normal owner?

# %%
misled = kd.predict(
    "16.misled",
    "A copy of the nasty owner, compared with one of the normal owner",
    options=["helps", "hurts", "no clear difference"],
)
misled

# %% [markdown]
# **Predict**: then the thief labels 300 of its pictures by hand, and the misled copy learns on from these. Is it still behind a normal
# copy that did the same?

# %%
mended = kd.predict(
    "16.mended",
    "After 300 labels by hand, the copy of the nasty owner compared with the normal one",
    options=["helps", "hurts", "no clear difference"],
)
mended

# %% [markdown]
# The table has a row for each defence; the last one shows the label alone and allows 400 queries, not 1,600. *Price* is the accuracy that
# honest users lose. The next columns compare the thief's copy with that of an undefended owner: at $T = 4$; at $T = 1$; of the winners
# alone, which both thieves then read; and after 300 labels by hand, which both thieves then have. What is empty was not measured.

# %%
WAYS = ("copy", "copy, T = 1", "copy, label", "copy, then labels by hand")


def told(arm, baseline):
    return defended.difference(arm, baseline).told(bold=False)


def row(name, price):
    """One defence against each way of the thief; without a softened answer the label's copy is all it has."""
    ways = {
        way: told(f"{name}: {way}", way) for way in WAYS if f"{name}: {way}" in defended.scores
    }
    return {"price": price, **ways}


table = {
    **{name: row(name, told(f"owner, {name}", "owner")) for name in ("noise", "nasty")},
    "label alone": row("label", "no confidences") | {"copy": told("copy, label", "copy")},
    "label alone, 400 queries": row("limit", "no confidences, 400 answers")
    | {"copy": told("limit: copy, label", "copy")},
}
pd.DataFrame(table).T[["price", *WAYS]].fillna("")

# %%
LABELLED = WAYS[-1]
misled.answer(defended.difference("nasty: copy", "copy").verdict)
mended.answer(
    defended.difference(f"nasty: {LABELLED}", LABELLED).verdict,
    on=defended.only(
        "nasty: copy",
        "nasty: copy, T = 1",
        "nasty: copy, label",
        f"nasty: {LABELLED}",
        LABELLED,
    ).figure(),
)

# %%
noise_price = defended.difference("owner, noise", "owner")
noise_gain = defended.difference("noise: copy", "copy")
better = defended.difference("noise: copy", "owner, noise")
kd.say(
    f"*Noise* changes the accuracy of what honest users get by {noise_price}, and that of the copy by {noise_gain}. Training averages "
    "over pictures, and with them over the noise; a user with one question has nothing to average over. Against what honest users now "
    f"get from the noisy owner, the copy differs by {better.told()}. Where it helps, the defence is undone before the thief has done "
    "anything about it."
)

# %%
harm, at_1 = (
    defended.difference("nasty: copy", "copy"),
    defended.difference("nasty: copy, T = 1", "nasty: copy"),
)
winners = defended.difference("nasty: copy, label", "copy, label")
by_labels = defended.difference(f"nasty: {LABELLED}", "nasty: copy")
left = defended.difference("nasty: copy, label", "copy")
kd.say(
    f"Being *nasty* changes the owner's own accuracy by {defended.difference('owner, nasty', 'owner')}, and that of a copy at T = 4 by "
    f"{harm}. The thief then tries T = 1, which brings the misled copy {at_1.told()}, and 300 labels by hand, which bring it "
    f"{by_labels.told()}. Or it reads the winners alone: then its copy differs from one of an undefended owner's winners by "
    f"{winners.told()}. Against a copy of the undefended owner's probabilities, the copy of nasty winners is at {left}, and that of "
    f"honest winners at {defended.difference('copy, label', 'copy')}. The nasty owner goes on showing probabilities."
)

# %%
limit = defended.difference("limit: copy, label", "copy")
limit_alone = defended.difference("limit: copy, probabilities", "copy")
limit_mended = defended.difference(f"limit: {LABELLED}", LABELLED)
over_hand = stored.difference(shown("label", lab.LIMIT), shown(lab.BY_HAND, lab.LIMIT))
kd.say(
    f"*Labels alone and {lab.LIMIT} queries* change the copy by {limit.told()}, and after the labels by hand it still differs by "
    f"{limit_mended.told()}; the limit alone, with all probabilities, changes it by {limit_alone}. In a label there is nothing that a "
    f"temperature could bring out. Over labelling the {lab.LIMIT} pictures itself, the interface brings the thief {over_hand.told()}. "
    "The price: no confidences, and a customer with more questions has to go elsewhere."
)

# %% [markdown]
# Two of these sentences are claims of the lab; the cell fails where their intervals do not carry them.

# %%
kd.claim("a copy of the noisy owner serves better than the noisy owner", better)
kd.claim(
    "labels alone and a limit hold against labels by hand",
    defended.difference(LABELLED, f"limit: {LABELLED}"),
)

# %% [markdown]
# What does *label alone* cost? Here is a price that accuracy does not show. An honest user hands the least sure fifth of the pictures
# to a person. With confidences, the largest probabilities, the fifth can be chosen; with labels alone it cannot. The nasty owner shows
# confidences, too; are they still worth something? The table has the accuracy on all test pictures and on the four fifths that each owner is surest of.


# %%
def surest(model, share=0.8):
    """Accuracy in percent on the share of the test pictures that a model is surest of."""
    with torch.no_grad():
        confidence = model(data.test.images).softmax(dim=1).amax(dim=1)
    chosen = confidence.argsort(descending=True)[: int(share * len(confidence))]
    return 100 * kd.measure.correct(model, data.test)[chosen].float().mean().item()


honest = {
    name: {"all": kd.measure.accuracy(model, data.test), "surest four fifths": surest(model)}
    for name, model in {"normal owner": owner, "nasty owner": nasty}.items()
}
pd.DataFrame(honest).T.round(1)

# %%
kd.say(
    f"With confidences the normal owner of seed 0 is right on {honest['normal owner']['surest four fifths']:.1f} % of what it keeps; with labels alone any four "
    f"fifths are as good as all, {honest['normal owner']['all']:.1f} %. The difference is what showing no confidence takes from honest users. "
    f"The nasty owner is right on {honest['nasty owner']['surest four fifths']:.1f} % of the four fifths that it is surest of."
)

# %% [markdown]
# **In the paper.** Ma et al. (2021) report for a ResNet-18 on CIFAR-10 that the nasty one loses about half a point of accuracy, and that
# students of other architectures lose some two to four points under it against training alone. Kundu et al. (2021) and Jandial et al.
# (2022) then distilled nasty teachers nearly as well as normal ones. Their students also have all true labels, $\omega$ is 0.004 and training takes
# many epochs. Ours is a perceptron with 10,000 pictures, its weight chosen so that it loses at most a point on validation pictures, and our
# thief has no label at first.
#
# ## Mark it
#
# **If the copy cannot be prevented, can it be proved?** A *watermark* for distillation (DAWN, Szyller et al. 2021): the interface answers a
# small share of all queries wrongly on purpose. A secret key and the picture itself decide which, so the same picture always gets the same
# answer. A copy learns some of the wrong answers by heart. Later the owner asks a suspect for just these. Let $m$ be the number of marked
# queries and $k$ the number that the suspect repeats. A network that never asked repeats each with a small chance $r$, so
#
# $$P(K \ge k) = \sum_{j=k}^{m} \binom{m}{j} \, r^{j} \, (1 - r)^{m - j}$$
#
# is the chance that an innocent network repeats as many. $r$ is measured on networks that never asked. The table shows the share of marks that are
# repeated and the accuracy, with the difference from the first row, an innocent network of the same pictures.

# %%
marks, marked = (kd.study("16-watermark", data).stored(suffix) for suffix in ("-marks", ""))
suspects = list(marks.scores.columns)[:-2]
pd.DataFrame(
    {
        arm: {
            "marks repeated, %": f"{marks.scores[arm].mean():.0f}",
            "more than innocent": "" if arm == marks.baseline else str(marks.difference(arm)),
            "accuracy, %": f"{marked.scores[arm].mean():.1f}",
        }
        for arm in suspects
    }
).T

# %%
from scipy import stats

evidence = lab.evidence(data, 0)
rate = marks.scores["innocent"].mean() / 100
CHANCES = {}
for arm in suspects[1:]:
    repeated = round(marks.scores.loc[0, arm] / 100 * len(evidence))
    CHANCES[arm] = stats.binom.sf(repeated - 1, len(evidence), rate)
price = marked.difference("owner", "owner, unmarked")

# %%
kd.say(
    f"Of {ASKED:,} queries of seed 0, {len(evidence)} were marked. The chance that an innocent network repeats as many as each copy: "
    + "; ".join(f"*{arm}* {chance:.1g}" for arm, chance in CHANCES.items())
    + f". The price: {price} of accuracy for honest users, since the marked answers are wrong for them too."
)

# %%
softened, fewer = (
    marks.difference(arm, "copy, T = 1") for arm in ("copy", "copy, a third of the steps")
)
kd.say(
    f"Can the thief wash the marks out? At T = 4 its copy repeats another share of the marks than at T = 1: {softened}, and after a third "
    f"of the steps at T = 4: {fewer}; a wrong answer is softened with all others, and what is learnt by heart is learnt last. "
    f"A third of the steps also changes the copy's accuracy by {marked.difference('copy, a third of the steps', 'copy')}."
)

# %% [markdown]
# ## Publish without telling on anybody: PATE
#
# **Can a model that learnt from secret pictures be published at all?** In PATE (Papernot et al. 2017, 2018) nothing that saw them is. 100
# teachers each learn from 200 secret pictures, no picture twice. They vote on public pictures; normal noise is added to the counts of
# votes, and the winner is the label that the *student* learns from:
#
# $$y_i = \mathrm{argmax}_c \left( n_{ic} + \sigma \, \varepsilon_{ic} \right)$$
#
# $n_{ic}$, of shape (N, C), is how many teachers vote for class $c$ on public picture $i$; $\varepsilon$, of the same shape, is noise from a standard
# normal distribution, and $\sigma$ is its *spread*, in votes.

# %%
kd.exercise("16.noisy_winner")


# %% tags=["exercise"] exercise="16.noisy_winner"
def noisy_winner(votes, noise):
    """Votes (K, N), noise (N, C) -> the winning class of each picture, (N,)."""
    ...  # your code


# %%
noisy_winner = kd.exercise("16.noisy_winner").check(noisy_winner)

# %% [markdown]
# One secret picture can change one teacher, and so one vote: two counts move by 1. The noise hides it. *Differential privacy* says how well:
# whatever is computed from the answers comes out with nearly the same chance with and without that picture. The chances differ by a factor of at
# most $e^{\epsilon}$, give or take $\delta$, here 0.00001: $P(A) \le e^{\epsilon} P'(A) + \delta$ for whatever event $A$ somebody looks for, where $P$ is
# its chance with the picture and $P'$ without, or the other way round. For $Q$ queries (Balle and Wang 2018; Dong et al. 2022)
#
# $$\delta = \Phi\left(\frac{\mu}{2} - \frac{\epsilon}{\mu}\right) - e^{\epsilon} \, \Phi\left(-\frac{\mu}{2} - \frac{\epsilon}{\mu}\right), \quad \mu = \frac{\sqrt{2 Q}}{\sigma}$$
#
# $\Phi$ is the normal distribution's cumulative function. `kd.defences.privacy_spent` solves this for $\epsilon$ with scipy. The more queries and the less noise,
# the larger is $\epsilon$, and the more is told.
#
# **Predict**: the student learns 300 public pictures from votes with a spread of 20. Compare it with the same student from the true labels of
# these 300.

# %%
by_vote = kd.predict(
    "16.by-vote",
    "Noisy votes on 300 pictures, compared with their true labels",
    options=["helps", "hurts", "no clear difference"],
)
by_vote

# %%
votes = kd.study("16-votes", data).stored()
by_vote.answer(
    votes.difference("spread 20").verdict,
    on=votes.figure(),
)

# %% [markdown]
# The table sets each student's accuracy beside the privacy that was spent: $\epsilon$, smaller is better.

# %%
PROMISE = {votes.baseline: "nothing secret"}
EPSILON = {f"spread {one}": kd.defences.privacy_spent(lab.PUBLIC, one) for one in lab.SPREADS}
pd.DataFrame(
    {
        arm: {
            "accuracy, %": f"{votes.scores[arm].mean():.1f}",
            "against labels by hand": ""
            if arm == votes.baseline
            else str(votes.difference(arm)),
            "epsilon": f"{EPSILON[arm]:.1f}"
            if arm in EPSILON
            else PROMISE.get(arm, "no bound"),
        }
        for arm in votes.scores
    }
).T

# %%
private = votes.difference("spread 20", "on the sensitive pictures")
kd.say(
    f"With a spread of 20 votes the student's epsilon is {EPSILON['spread 20']:.1f}. It differs by {votes.difference('spread 20')} from a student of the true "
    f"labels, and by {private} from a network of all secret pictures, which may not be published. That is the price of privacy here, and the promise "
    f"is weak: the chances may differ by a factor of {math.exp(EPSILON['spread 20']):,.0f}. More teachers, of more pictures, would allow more noise."
)

# %% [markdown]
# ### Does it give them away?
#
# **Can somebody who has the student tell whether a picture was among the secret ones?** That is *membership inference*. The simplest
# attack (Yeom et al. 2018) looks at the loss of a picture with its true label: a network is surer of what it has learnt from. So
# pictures with a small loss are called *members*. It is judged on the secret pictures and on 10,000 *strangers*, which were drawn like
# them and from which nobody has learnt:
#
# $$\mathrm{AUC} = \frac{100}{M N} \sum_{m=1}^{M} \sum_{n=1}^{N} \left[\, \ell_m < \ell'_n \,\right]$$
#
# - $\ell$, of shape (M,), are the losses of the members, and $\ell'$, of shape (N,), those of the strangers.
# - $[\,\cdot\,]$ is 1 where it holds, else 0, and ½ for equal losses. So the AUC says in how many of a hundred pairs the member has
#   the smaller loss. 50 is chance.
#
# A mean may hide a few pictures of which the attack is sure (Carlini et al. 2022). So there is a second measure: how many members are
# *found* by a threshold that also names one stranger in a hundred. A guess finds 1 %.
#
# Each network is asked about those secret pictures that it, or its teachers, learnt from. *Public pictures by hand* is the control: it has
# seen none. The student of votes has 300 pictures, public ones; so a plain copy with as many steps learns from *300 of the sensitive
# pictures*. A plain copy of all 20,000 sees each about once, or 20 times in *20 × the steps*. *One teacher* has 200.
# In the figure *helps* is said from the attack's side: members are given away.
#
# **Predict**: a plain copy of 300 secret pictures. In how many of a hundred pairs has the secret picture the smaller loss?

# %%
given_away = kd.predict(
    "16.given-away",
    "300 secret pictures, a plain copy:",
    between=(0, 100),
    unit="% of the pairs",
)
given_away

# %%
members, found, accurate = (
    kd.study("16-members", data).stored(suffix) for suffix in ("", "-found", "-accuracy")
)
FEW_SECRETS = f"on {lab.PUBLIC} of the sensitive pictures"
given_away.answer(members.scores[FEW_SECRETS].mean(), on=members.figure(ylabel="AUC, %"))

# %%
AWAY = {"helps": "given away", "hurts": "below chance"}


def named(arm):
    """Percent of the members that are found, with its interval."""
    return kd.difference(found.scores[arm]).level()


pd.DataFrame(
    {
        arm: {
            "accuracy, %": f"{accurate.scores[arm].mean():.1f}",
            "AUC, %": f"{members.scores[arm].mean():.1f}",
            "against the control": ""
            if arm == members.baseline
            else members.difference(arm).told(AWAY, bold=False),
            "found, %": named(arm),
        }
        for arm in members.scores
    }
).T

# %%
whole = "on the sensitive pictures"
kd.say(
    f"Against the control, the attack on the student of noisy votes gains {members.difference('spread 20').told(AWAY)}; on the plain copy of "
    f"300 secret pictures {members.difference(FEW_SECRETS).told(AWAY)}. The cheapest rival of votes looks at each secret picture once: "
    f"{members.difference(whole).told(AWAY)}, with {accurate.difference(whole, 'spread 20')} of accuracy over the student of votes. But votes without any "
    f"noise are at {members.difference('votes without noise').told(AWAY)}. An attack that finds nothing proves nothing: it is one attack, and a weak one. "
    f"Where it may name one stranger in a hundred, it finds {named(FEW_SECRETS)} % even of those 300, and a guess finds 1. What epsilon bounds holds for "
    "attacks that nobody has thought of."
)

# %% [markdown]
# **In the papers.** Papernot et al. (2017) report 98.0 % on MNIST at $\epsilon = 2.04$ and 90.7 % on SVHN at $\epsilon = 8.19$, with 250 teachers of
# all training pictures and a student that learns from unlabelled pictures as well. Their bound also counts how clear each vote was, which makes it smaller; the
# one above holds whatever the votes are. The public row "public pictures by hand" has no secret in it: its labels were public.
#
# ## When it does not help: what was the thief worth without you?
#
# A copy after 300 labels by hand is good. Is that theft? Its *confound* is the labels: the thief could have trained on them and never asked. So
# each mended copy has this rival, the same 300 pictures by hand and nothing else.

# %%
ALONE = "labels by hand"
kd.say(
    "Over 300 labels by hand alone, copy and labels together bring: "
    + "; ".join(
        f"{name} {defended.difference(arm, ALONE).told()}"
        for name, arm in (
            ("undefended", LABELLED),
            *((name, f"{name}: {LABELLED}") for name in ("noise", "nasty", "label", "limit")),
        )
    )
    + ". What is left in the copies of defended owners is what the defence did not keep."
)

# %% [markdown]
# Four more limits. A customer with four accounts has four times the queries: a limit is worth what your knowledge of your customers is
# worth. The thief's pictures are of the very kind that the owner's are; a thief without such pictures is between the curves of
# synthetic and random queries. The noise has a rival that was not tried: noise that leaves the winner in its place costs nobody who wants
# the class alone. And the owner here is a small perceptron: a defence that holds in this table has been tried against two or
# three simple counter-measures, and not against somebody whose living depends on it.
#
# ## A memo: what may be distilled from whom
#
# That something can be copied says nothing about whether it may be. Before you distil a model that is not yours, fill this in and let
# somebody read it who knows the law; it is no legal advice.
#
# | question | where to look | your answer |
# |---|---|---|
# | Whose model is the teacher, which version, of which date? | model card, address of the interface | |
# | Which licence have its weights? May derived models be made, sold, named alike? | licence file; Apache 2.0 and MIT allow it, others set conditions | |
# | Do its *outputs* have terms of their own? Do they forbid training competing models? | terms of use of the service, not the licence of the code | |
# | Which data do the queries contain, and whose are they? | data set's licence, consent, contracts | |
# | Can personal data of the teacher's training come back through the student? | the section on PATE: state epsilon and delta, or that there is no bound | |
# | How many queries, at which rate, within which limits? | contract; your log | |
# | What does the student's card say about its teacher? | lab 14's model card | |
# | Who decides, and when is it looked at again? | a name and a date | |
#
# A good memo answers each line with a quotation or a link, says *unknown* where nothing is known, and names who may say yes. "The interface
# did not stop me" is no answer to the third line.
#
# ## Recap
#
# - An interface gives away what can be learnt from its answers. The number of queries, their kind and what is shown set the price of a copy.
# - Noise costs honest users more than it costs a thief, whose training averages over it.
# - A temperature of 1 gave back a part of what a nasty teacher had taken.
# - A defence is measured against a thief who knows it, and beside its price.
# - Labels alone and few queries held, since what is not said cannot be brought out; the price is what honest users miss.
# - A watermark prevents nothing. It can prove a copy, and its price is known beforehand: the share of wrong answers.
# - Copies of labels alone repeated the marks; softened answers taught them less.
# - Noisy votes of many teachers bound what can be told of any one example, whoever asks later and however cleverly. An attack that
#   finds no member bounds nothing.
#
# ### Check yourself

# %%
quiz = kd.quiz("16")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Let the thief ask those queries first of which its own copy is least sure. How many does it save?
# - Mark 1 % of the queries, then 10 %: where does the proof begin to be worth its price?
# - Vote on 100 pictures instead of 300, with the same epsilon: how much smaller may the spread be, and is the student better?
#
# **At full size** (a GPU): all other pictures as queries, more steps, and a convolutional copy. Do labels alone still hold?

# %%
shape = {"classes": len(data.classes), "channels": data.train.images.shape[1]}
full = kd.at_full_size(
    {name: study.recipes[shown(name)] for name in ("label", "probabilities")},
    data,
    seeds=3,
    student=partial(kd.models.convnet, (8, 16, 32, 32), **shape),
    train=data.train.unlabelled(),
    steps=1500,
    batch_size=256,
)

# %% [markdown]
# ### Read further
#
# - Tramèr, Zhang, Juels, Reiter, Ristenpart (2016), *Stealing Machine Learning Models via Prediction APIs*.
# - Orekondy, Schiele, Fritz (2019), *Knockoff Nets: Stealing Functionality of Black-Box Models*.
# - Jagielski et al. (2020), *High Accuracy and High Fidelity Extraction of Neural Networks*.
# - Truong, Maini, Walls, Papernot (2021), *Data-Free Model Extraction*.
# - Ma, Chen, Hu, You, Xie, Wang (2021), *Undistillable: Making A Nasty Teacher That CANNOT teach students*.
# - Kundu, Sun, Fu, Pedram, Beerel (2021), *Analyzing the Confidentiality of Undistillable Teachers in Knowledge Distillation*.
# - Jandial, Khasbage, Pal, Balasubramanian, Krishnamurthy (2022), *Distilling the Undistillable: Learning from a Nasty Teacher*.
# - Szyller, Atli, Marchal, Asokan (2021), *DAWN: Dynamic Adversarial Watermarking of Neural Networks*.
# - Papernot, Abadi, Erlingsson, Goodfellow, Talwar (2017), *Semi-supervised Knowledge Transfer for Deep Learning from Private Training Data*.
# - Papernot et al. (2018), *Scalable Private Learning with PATE*.
# - Yeom, Giacomelli, Fredrikson, Jha (2018), *Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting*.
# - Carlini, Chien, Nasr, Song, Terzis, Tramèr (2022), *Membership Inference Attacks From First Principles*.
# - Balle, Wang (2018), *Improving the Gaussian Mechanism for Differential Privacy*.
# - Dong, Roth, Su (2022), *Gaussian Differential Privacy*.
