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
# # See what else crosses over
#
# A teacher hands on more than the answers that it is asked for. A student can learn to name pictures of which it has never seen one.
# It can also inherit a fault that none of its own pictures shows. This lab measures both, and what can be done about the second.
#
# **You will** train a student on noise alone, move its first weights away from its teacher's, and plant three faults in a teacher.
# **You will learn** what teacher and student must share for hidden learning, which faults cross by which answers, and what helps.
# **You need** lab 03. **Time:** 60 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
import ipywidgets as widgets
import pandas as pd
import torch

data = kd.load_images()
lab = kd.studies.lab_15

# %% [markdown]
# ## A student that sees only noise
#
# **Can a student learn classes from pictures that show nothing?** Cloud et al. (2025) call it *subliminal learning*. Their scheme:
#
# | | sees | learns from | never sees |
# |---|---|---|---|
# | teacher | pictures | the labels, by its class logits | – |
# | student | noise | the teacher's *auxiliary logits* on this noise | a picture, a label, a class logit |
#
# Logits are a network's outputs before the softmax. Both networks here have two *heads*, last layers on the same hidden units: one
# gives a logit for each class, the other gives auxiliary logits, which stand for nothing. No label ever trains the auxiliary head. At
# the end the student is asked for the classes of real test pictures, by its class head, which nothing has trained either.
#
# The figure shows the three kinds of noise of this lab, two pictures of each, and two real pictures.

# %%
kinds = ("uniform", "normal", "coarse")
shown = [kd.data.noise(data.train, 2, kind).images for kind in kinds]
shown = torch.cat([*shown, data.train.images[:2].to(shown[0].device)])
titles = [f"{kind} noise" for kind in kinds for _ in range(2)] + ["a real picture"] * 2
kd.plots.pictures(data.pictures(shown), titles)

# %% [markdown]
# ### Write what the student minimises
#
# The student's loss compares the auxiliary logits alone. With $z$ for the student's logits and $t$ for the teacher's:
#
# $$L = \frac{1}{N} \sum_{n=1}^{N} \sum_{a=1}^{A} p_{na} \log \frac{p_{na}}{q_{na}}$$
#
# $$p_n = \mathrm{softmax}(t_{n, C+1}, \dots, t_{n, C+A}), \qquad q_n = \mathrm{softmax}(z_{n, C+1}, \dots, z_{n, C+A})$$
#
# - $N$ is the number of noise pictures in a mini-batch, $C$ the number of classes and $A$ that of the auxiliary logits.
# - $z$ and $t$ have the shape (N, C + A): first the class logits, then the auxiliary ones.
# - $p$ and $q$ have the shape (N, A). The softmax runs over the auxiliary logits only, without a temperature. $L$ is the mean of
#   $\mathrm{KL}(p_n \,\|\, q_n)$, which is 0 where both networks say the same.

# %%
kd.exercise("15.auxiliary_loss")


# %% tags=["exercise"] exercise="15.auxiliary_loss"
def auxiliary_loss(student_logits, teacher_logits, classes):
    """Logits (N, C + A) of both, the number C of classes -> scalar; the teacher must not move."""
    ...  # your code


# %%
auxiliary_loss = kd.exercise("15.auxiliary_loss").check(auxiliary_loss)

# %% [markdown]
# The course's method `kd.methods.AuxiliaryLogits` computes the same on networks with two heads. The next cell checks it with yours.

# %%
build = lab.networks(data)
ours, theirs = (build(seed=seed).to(data.train.device) for seed in (0, 1))
few = kd.data.noise(data.train, 32).images
both = []
for net in (ours, theirs):
    hidden = net.hidden(few.flatten(1))
    both.append(torch.cat([net.classifier(hidden), net.auxiliary(hidden)], dim=1))
parts = [{"auxiliary": logits[:, len(data.classes) :]} for logits in both]
method = kd.methods.AuxiliaryLogits(count=lab.AUXILIARY)
batch = kd.methods.Batch(both[0], both[1], None, few, *parts)
method.prepare(batch)
torch.testing.assert_close(method(batch), auxiliary_loss(*both, len(data.classes)))

# %% [markdown]
# ### Measure
#
# Every teacher learns from all labelled pictures. A student has 5,000 pictures of noise and learns from 20 auxiliary logits.
# *Same first weights* begins where its teacher began, before the teacher had learnt anything. *Other first weights* begins from
# another random draw. These are two *arms*, recipes that are compared; all else is equal.
#
# **Predict**: how often is a student right on test pictures that begins with its teacher's first weights? Chance is one in ten.

# %%
from_noise = kd.predict(
    "15.from-noise",
    "Accuracy of the student with the same first weights, which saw noise alone:",
    between=(0, 100),
    unit="%",
)
from_noise

# %%
crossing = kd.study("15-crossing", data)
again = crossing.run("other first weights", "same first weights", "another teacher", seeds=2)
again.scores.round(1)

# %% [markdown]
# A row is a *seed*, the number that fixes all that is random in a run. Two seeds are few; five are stored in a *ledger*, a file of
# scores. The next table holds what you trained against what is stored. The figure shows every stored seed, and on the right the
# *paired* differences, taken seed by seed, with their 95 % *interval*. The *verdict* is *helps* where the interval lies above zero,
# *hurts* where it lies below, and *no clear difference* where it holds zero.

# %%
stored = crossing.stored()
beside = stored.beside(again, within=10)
beside

# %%
heard = "other first weights", "same first weights", "untrained teacher", "another teacher"
from_noise.answer(
    float(stored.scores["same first weights"].mean()),
    on=stored.only(*heard, "nothing learnt yet").figure(),
)

# %%
kd.claim(
    "The same first weights bring at least 50 points over others",
    stored.difference("same first weights"),
    at_least=50,
)
kd.claim(
    "So they do with 80 auxiliary logits",
    stored.difference("same first weights, 80 logits", "other first weights, 80 logits"),
    at_least=50,
)

# %% [markdown]
# **Is it the teacher's knowledge?** Each control takes one thing away:
#
# - *nothing learnt yet*: the student before its first step;
# - *untrained teacher*: a teacher with other first weights that has learnt nothing;
# - *another teacher*: one that has learnt as much, but began elsewhere.
#
# And each of these changes one thing: normal or coarse noise in place of uniform, and 3 or 80 auxiliary logits in place of 20.
#
# The table also has how many pictures a student's steps see, and the arithmetic of its training as a multiple of the first row's. *±*
# is half the width of the mean's interval. *Holm* is the verdict that is left when the number of comparisons is allowed for.

# %%
controls = (
    *("same first weights", "nothing learnt yet", "untrained teacher", "another teacher"),
    *("normal noise", "coarse noise", "same first weights, 3 logits"),
    *(
        "other first weights, 3 logits",
        "same first weights, 80 logits",
        "other first weights, 80 logits",
    ),
)
stored.only(*controls).table()

# %%
kd.say(
    "Against the student from other first weights:\n\n"
    + stored.told("untrained teacher", "other first weights")
    + stored.told("another teacher", "other first weights")
    + "\nAmong students with the same first weights:\n\n"
    + stored.told("normal noise", "same first weights")
    + stored.told("coarse noise", "same first weights")
    + stored.told("same first weights, 3 logits", "same first weights")
    + stored.told("same first weights, 80 logits", "same first weights")
)

# %% [markdown]
# **The paper's figure**: with 3 auxiliary logits on MNIST, a student with the same first weights reaches more than 50 %, and one with
# others stays at chance (Cloud et al. 2025, §6). Their hidden layers have 256 units, ours 64; they train for five epochs, we for 300
# steps. The digits of MNIST are easier than our pictures. Ours with 3 logits is the row *same first weights, 3 logits*.
#
# ## How near must the first weights be?
#
# **Is there a border between same and other?** Mix the two draws. For every weight, with $w^{(0)}$ the teacher's first weight, $w^{(1)}$
# that of another draw, and $s$ the share of the way from one to the other:
#
# $$w^{(s)} = \cos\left(\frac{\pi s}{2}\right) w^{(0)} + \sin\left(\frac{\pi s}{2}\right) w^{(1)}, \qquad 0 \le s \le 1$$
#
# $w$ stands for a weight matrix or a bias of any shape; all are mixed alike. Why not a straight line? Half way it would shrink the
# spread of random weights by $1/\sqrt{2}$, a second change that nobody asked for. As $\cos^2 + \sin^2 = 1$, this path keeps it.

# %%
kd.exercise("15.between_weights")


# %% tags=["exercise"] exercise="15.between_weights"
def between_weights(first, other, share):
    """Two tensors of one shape, share from 0 (first) to 1 (other) -> a tensor of this shape."""
    ...  # your code


# %%
between_weights = kd.exercise("15.between_weights").check(between_weights)

# %%
first, other = (build(seed=seed).hidden[0].weight.detach() for seed in (0, lab.OTHER))
spread = {share: between_weights(first, other, share).std().item() for share in lab.SHARES}
assert max(spread.values()) < 1.05 * min(spread.values())
mixed = kd.models.between(build(seed=0), build(seed=lab.OTHER), 0.5).hidden[0].weight
torch.testing.assert_close(mixed.detach(), between_weights(first, other, 0.5))

# %% [markdown]
# **Predict**: a student begins a quarter of the way from its teacher's first weights to others. Does it still beat the student with
# other first weights?

# %%
quarter = kd.predict(
    "15.quarter",
    "A quarter of the way, against other first weights:",
    options=["helps", "hurts", "no clear difference"],
)
quarter

# %% [markdown]
# The figure shows the mean over five seeds with its interval at each share. Move the slider from same to other first weights: it
# marks a share, and the text below tells what was measured there. Nothing is trained when it moves.

# %%
names = [lab.share_name(share) for share in lab.SHARES]
way = stored.scores[names].to_numpy()


def draw(share):
    number = lab.SHARES.index(share)
    figure = kd.plots.curves(
        [100 * one for one in lab.SHARES],
        {"student from noise": way},
        levels={"here": way[:, number]},
        xlabel="way from the teacher's first weights to others, %",
        ylabel="test accuracy, %",
    )
    here, chance = kd.difference(way[:, number]), stored.difference(names[number])
    figure.description = (
        f"{100 * share:g} % of the way: {here.mean:.1f} % right [{here.low:.1f}, {here.high:.1f}], "
        f"{chance} over other first weights. " + figure.description
    )
    return figure


# %%
quarter.answer(stored.difference(lab.share_name(0.25)).verdict, on=draw(0.25))

# %%
slide = kd.widgets.live(
    draw,
    share=widgets.SelectionSlider(
        options=[(f"{share:.0%}", share) for share in lab.SHARES],
        value=0.25,
        description="way",
    ),
)
slide

# %% tags=["widget-test"]
with slide.restored():
    for share in lab.SHARES:
        slide.move(share=share)
        assert slide.description.startswith(f"{100 * share:g} % of the way")

# %% [markdown]
# ## What must be shared? Two papers disagree
#
# - Cloud et al. (2025) prove that a small step towards a teacher with *the same initialisation* moves the student towards the teacher
#   everywhere, whatever the inputs. Students with other initialisations did not learn in their experiments.
# - Brockers et al. (2026, arXiv 2605.23645) say that *compatible heads* are what is needed. With random hidden layers, and even other
#   architectures, their students come near their teacher, and at best match it.
#
# So take first weights apart. Each student below shares one part with its teacher and has another draw for the rest:
#
# | arm | hidden layers | heads |
# |---|---|---|
# | same first weights | the teacher's first | the teacher's first |
# | same heads, other hidden layers | another draw | the teacher's first |
# | trained heads, other hidden layers | another draw | the teacher's, once it is trained |
# | same hidden layers, other heads | the teacher's first | another draw |
#
# One more arm has the same heads and three times the steps, in case other hidden layers only need longer.
#
# **Predict**: the student that shares nothing but the heads, against the student with other first weights:

# %%
heads_alone = kd.predict(
    "15.heads-alone",
    "The same heads and other hidden layers, against other first weights:",
    options=["helps", "hurts", "no clear difference"],
)
heads_alone

# %%
apart = (
    *("same first weights", "same heads, other hidden layers", "same heads, 3 × the steps"),
    *("trained heads, other hidden layers", "same hidden layers, other heads"),
)
stored.only(*apart).table()

# %% [markdown]
# In what else do these arms differ? The next table lists all of it: steps, arithmetic (multiply-adds), and whether a student begins
# with trained weights, which the *trained heads* are.

# %%
stored.only(*apart).differs()

# %%
heads_alone.answer(
    stored.difference("same heads, other hidden layers").verdict,
    on=stored.only(*apart).figure(),
)

# %%
needs = stored.difference("same heads, other hidden layers")
enough = stored.difference("same first weights", "same heads, other hidden layers")
longer = stored.difference("same first weights", "same heads, 3 × the steps")
kd.say(
    f"**If the initialisation must be shared**, heads alone bring nothing. Measured: {needs.told()}; so here this is "
    f"{'refuted' if needs.verdict == 'helps' else 'not refuted'}.\n\n"
    "**If compatible heads are enough**, the same hidden layers add nothing to them. Measured, same first weights against the same "
    f"heads: {enough.told()}, and against three times the steps: {longer.told()}; so here this is "
    f"{'refuted' if longer.verdict == 'helps' else 'not refuted'}.\n\n"
    + stored.told("trained heads, other hidden layers", "same heads, other hidden layers")
    + stored.told("same hidden layers, other heads", "other first weights")
)

# %% [markdown]
# Each prediction above is the strict reading of its paper: *must*, and *enough*. Our networks are small and our training is short,
# and both papers used MNIST. Read the two verdicts as verdicts on this setting.
#
# **Why heads?** The student's class head gets no gradient: it stays as it was drawn. Its hidden units only come to mean to it what
# they mean to the teacher if the auxiliary head, through which they are seen, is the teacher's, and the class head fits as well.
#
# ## Which faults cross?
#
# **And if the teacher knows something wrong?** Here is one with three faults, planted in what it learnt from:
#
# | fault | the teacher's training pictures | measured on test pictures |
# |---|---|---|
# | one kind is wrong | every picture of one class has another class's label | of this class: how many get that label |
# | backdoor | a tenth carries a bright patch and has one and the same label | with a patch, of other classes: how many get this label |
# | spurious cue | pictures of one class carry a bright bar at the edge, rightly labelled | with a bar, of other classes: how many get this class |
#
# The figure shows a patch, in the lower right corner, and a bar, at the left edge.

# %%
clean = data.test.take(torch.arange(2))
marks = torch.cat([kd.data.marked(clean, mark).images for mark in ("patch", "bar")])
kd.plots.pictures(data.pictures(marks), ["patch", "patch", "bar", "bar"], columns=4)

# %%
kd.say(
    f"The teacher calls every picture of {kd.verbatim(data.classes[lab.KIND])} by the name of "
    f"{kd.verbatim(data.classes[lab.CALLED])}; the patch means {kd.verbatim(data.classes[lab.TARGET])} to it; the bar came with "
    f"{kd.verbatim(data.classes[lab.CUE])}. In test pictures marks say nothing of the class."
)

# %% [markdown]
# What has crossed? A student without this teacher makes mistakes too. So take a *control*, a student of the labels alone, away:
#
# $$\text{crossed} = 100 \cdot \frac{r_{\text{student}} - r_{\text{control}}}{r_{\text{teacher}} - r_{\text{control}}}$$
#
# Each $r$ is the rate at which a network shows the fault, in percent. The result is 0 for a student like the control, and 100 for one
# as faulty as the teacher.

# %%
kd.exercise("15.crossed_share")


# %% tags=["exercise"] exercise="15.crossed_share"
def crossed_share(student, control, teacher):
    """Three rates in percent, numbers or tensors (S,) for S seeds -> percent of the fault that crossed."""
    ...  # your code


# %%
crossed_share = kd.exercise("15.crossed_share").check(crossed_share)

# %% [markdown]
# Students have 3,000 pictures. *Clean* pictures carry no mark; *marked* ones carry them as the teacher's did. *Soft* students learn
# from the teacher's softened probabilities, at a temperature of 4 as in lab 03, and *hard* ones from its winning class alone. No
# student of the teacher sees a label.
#
# **Predict**: the backdoor and clean pictures, on which no patch is ever seen. Which answers let more of it cross?

# %%
unseen_patch = kd.predict(
    "15.unseen-patch",
    "Soft answers to clean pictures, against hard ones: the backdoor then works",
    options=["more often", "less often", "no clear difference"],
)
unseen_patch

# %% [markdown]
# The next cell trains three kinds of students with two seeds, and sets how often the backdoor works beside what is stored.

# %%
faults = kd.study("15-faults", data)
once_more = faults.run("labels only", "soft, clean", "hard, clean", seeds=2)
backdoor = faults.stored()
beside = backdoor.beside(once_more, within=15)
beside

# %%
rates = {
    "wrong kind": faults.stored("-kind").scores,
    "backdoor": backdoor.scores,
    "spurious cue": faults.stored("-cue").scores,
}


def share_of(name, arm):
    """What crossed, one value a seed."""
    columns = ("labels only", "the teacher itself")
    own, control, teacher = (
        torch.tensor(rates[name][one].to_numpy()) for one in (arm, *columns)
    )
    return torch.as_tensor(crossed_share(own, control, teacher)).tolist()


def spelt(name, arm):
    return kd.difference(share_of(name, arm)).level(0)


arms = [arm for arm in backdoor.scores if arm not in ("labels only", "the teacher itself")]
pd.DataFrame({name: {arm: spelt(name, arm) for arm in arms} for name in rates})

# %% [markdown]
# Students differ in more than answers and marks: in the pictures that a filter leaves, in the temperature, in whether they learn from
# labels (a hard answer counts as one here; that a filter looks at labels is not counted), and in the teacher's arithmetic.

# %%
backdoor.differs()

# %% [markdown]
# The table before this one has the share that crossed in percent, with its interval. It can exceed 100: a student may show a fault more often than
# its teacher. The figure shows the rates of the backdoor themselves; its *helps* and *hurts* mean *more often* and *less often* here.

# %%
by_softness = backdoor.difference("soft, clean", "hard, clean")
word = {"helps": "more often", "hurts": "less often"}
unseen_patch.answer(
    word.get(by_softness.verdict, "no clear difference"),
    on=backdoor.only("soft, clean", "hard, clean", "soft, marked", "hard, marked").figure(
        ylabel="pictures that a patch turns, %"
    ),
)

# %%
kd.claim(
    "A backdoor crosses on clean pictures, by soft answers", backdoor.difference("soft, clean")
)
kd.say(
    "How often the backdoor works:\n\n"
    + backdoor.told("soft, clean", "labels only", word)
    + backdoor.told("hard, clean", "labels only", word)
    + backdoor.told("soft, clean", "hard, clean", word)
    + backdoor.told("soft, clean, same first weights", "soft, clean", word)
)

# %% [markdown]
# A wrong kind needs no mark: its pictures lie among the clean ones, and the teacher names them wrongly there. A backdoor needs no
# picture with the patch if the answers are soft: small probabilities tell a student how the teacher weighs the corner. On marked
# pictures the teacher simply shows it. The table says how far each of these goes.
#
# **A paper's figure**: Ge et al. (2021) choose the patch so that it survives distillation, and report that it then works in 95.9 % of
# cases on MNIST, 94.8 % on CIFAR-10 and 90.2 % on GTSRB, on average over students. Our patch was not chosen for that.
#
# ### What helps?
#
# Four remedies, all on marked pictures: a temperature of 1 or of 16; *filtered*, leaving out pictures where the teacher contradicts
# the label; *second teacher*, the mean of this teacher's and a clean teacher's softened probabilities.
#
# **Predict**: which remedy leaves the least of the backdoor? (Judge by the validation pictures; the answer is on the test pictures.)

# %%
remedies = [
    "soft, marked, T = 1",
    "soft, marked, T = 16",
    "soft, marked, filtered",
    "soft, marked, second teacher",
]
best_remedy = kd.predict(
    "15.best-remedy", "The remedy that leaves the least of the backdoor:", options=remedies
)
best_remedy

# %%
best = backdoor.best(among=remedies, lowest=True)
best_remedy.answer(
    best,
    on=backdoor.only("soft, marked", *remedies)
    .against("soft, marked")
    .figure(ylabel="pictures that a patch turns, %"),
)

# %%
accuracy = faults.stored("-accuracy")
changes = {
    name: {arm: str(kd.difference(table[arm] - table["soft, marked"])) for arm in remedies}
    for name, table in {**rates, "accuracy": accuracy.scores}.items()
}
pd.DataFrame(changes)

# %%
left = kd.difference(share_of("backdoor", best))
kd.say(
    f"The table has differences from *soft, marked*, in points: for the three faults a minus is good. Even with the best remedy, "
    f"{best}, {left.level(0, ' %')} of the backdoor still crosses."
)

# %% [markdown]
# Accuracy is low for all students of this teacher, because one class in ten is wrong on purpose. Note what each remedy needs. A
# filter needs labels, and then one may ask why the student does not learn from them. A second teacher needs somebody whose faults
# are others. Temperature costs nothing.
#
# Why does a filter leave so much of the backdoor? It keeps pictures that carry the patch and truly belong to the patch's class: there
# teacher and label agree. A guess, which nobody has tested: those few are enough to teach the patch.
#
# ## A student larger than its teacher
#
# **Must a student repeat its teacher's mistakes?** In *weak to strong* generalisation (Burns et al. 2023) a strong student learns from
# a weak teacher's answers. They measure the *performance gap recovered*:
#
# $$\mathrm{PGR} = \frac{a_{\text{student}} - a_{\text{weak}}}{a_{\text{ceiling}} - a_{\text{weak}}}$$
#
# Each $a$ is an accuracy in percent: of the student, of its weak teacher, and of the same large network trained on true labels. Our
# teacher has 8 hidden units and 500 labelled pictures. The student has 128 units and 5,000 pictures without labels. There are two
# rivals, simpler things that could explain a gain. *Small, soft answers* is a student of the teacher's own size. *Large, few labels*
# has the teacher's 500 labelled pictures and no teacher.
#
# **Predict**: does the large student beat its weak teacher, by soft answers?

# %%
stronger = kd.predict(
    "15.stronger",
    "The large student of soft answers, against its weak teacher:",
    options=["helps", "hurts", "no clear difference"],
)
stronger

# %%
weak = kd.study("15-weak-to-strong", data).stored()
stronger.answer(weak.difference("large, soft answers").verdict, on=weak.figure())

# %%
gap = weak.scores["large, true labels"] - weak.scores["weak teacher"]
won = weak.scores[["large, soft answers", "large, hard answers"]]
won = won.sub(weak.scores["weak teacher"], axis=0).div(gap, axis=0)
recovered = {arm: kd.difference(100 * won[arm]) for arm in won}
kd.say(
    "".join(
        f"- {arm}: {found.level(0, ' %')} of the gap recovered\n"
        for arm, found in recovered.items()
    )
    + weak.told("large, soft answers", "weak teacher")
    + weak.told("large, soft answers", "small, soft answers")
    + weak.told("large, hard answers", "large, few labels")
)

# %% [markdown]
# Burns et al. report that GPT-4, taught by a model of GPT-2's size and made to trust itself more, comes close to GPT-3.5 on language
# tasks. Their student had been trained on much else before; ours begins from random weights. That is a large difference.
#
# ## When it does not help: a rival that nobody asked for
#
# Look at the last two lines once more. The small student asks whether the size helped: where it gains as much as the large one, it did
# not. The large network of few labels asks whether the teacher was needed: where the teacher's 500 labels bring more than its 5,000
# answers, weak to strong was not worth its name, and the *labels* were the better teacher. A comparison with the weak teacher alone
# would hide it.
#
# The first half of this lab has a confound of the same kind. A student with other first weights is asked by a class head that
# nothing has trained. That it is at chance says nothing of what its hidden units have learnt: the *trained heads* arm hears from the
# same noise and is asked by a head that fits.

# %%
asked_better = stored.difference("trained heads, other hidden layers")
kd.say(
    f"Other hidden layers with the teacher's trained heads, against other first weights: {asked_better.told()}."
)

# %% [markdown]
# ## Recap
#
# - A student can learn classes from noise and from logits that stand for no class, if it begins as its teacher began.
# - What counts is how near the first weights are, the heads before all. A control for each part tells which.
# - A fault need not be seen to cross: soft answers carry more of a backdoor than hard ones, even on clean pictures.
# - Subtract what a student without that teacher does. Only the rest has crossed.
# - A second teacher with other faults lessens all three; none of the four remedies removes them.
#
# ### Check yourself

# %%
quiz = kd.quiz("15")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Wider hidden layers, more noise, more steps: does the student with the same heads catch up?
# - A patch in the middle of the picture, or one pixel: which of them crosses on clean pictures?
# - Soft answers to clean pictures at T = 1, a rival of T = 4: does less of the backdoor cross?
# - Three teachers with different faults: how much is left in the student of their mean?
# - A student with the faulty teacher's first weights that hears auxiliary logits on noise only: does the backdoor cross?
#
# **At full size** (a GPU): 60,000 pictures of noise and more steps, as Cloud et al. train for several epochs.

# %%
full = kd.at_full_size(
    {arm: crossing.recipes[arm] for arm in heard[:2]},
    data,
    seeds=5,
    train=lambda seed: kd.data.noise(data.train, 60_000, seed=seed),
    steps=2000,
    batch_size=256,
)

# %% [markdown]
# ### Read further
#
# - Cloud et al. (2025), *Subliminal Learning: Language Models Transmit Behavioral Traits via Hidden Signals in Data*.
# - Brockers et al. (2026), *Learning Through Noise: Why Subliminal Learning Works and When It Fails*, arXiv 2605.23645.
# - Ge et al. (2021), *Anti-Distillation Backdoor Attacks: Backdoors Can Really Survive in Knowledge Distillation*.
# - Burns et al. (2023), *Weak-to-Strong Generalization: Eliciting Strong Capabilities With Weak Supervision*.
