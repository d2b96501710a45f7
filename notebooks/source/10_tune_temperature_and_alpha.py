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
# # Tune temperature and alpha
#
# Which temperature, which alpha, which student? You can try all combinations on a *grid*, or let a *search* propose them. Either
# way you choose the best of many numbers. The best of many is partly luck, so it promises too much, unless you choose on one set
# of data and report on another.
#
# **You will** read a grid with sliders, search with a library that stops bad trials early and goes on after an interrupt, and
# draw which students are worth their cost.
# **You will learn** how optimistic the best test number is, when cached answers cost accuracy, and how to choose a student under a
# budget.
# **You need** lab 03. **Time:** 50 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
kd.need("optuna")  # says how to get it, where it is missing

import math
import time
import warnings
from dataclasses import replace
from functools import partial

import optuna
import pandas as pd
import torch
from matplotlib import rc_context

data = kd.load_images()
cache = kd.TeacherCache(kd.zoo.teacher("perceptron", data))

# %% [markdown]
# ## What is tuned
#
# The loss of this lab is the classic mixture of lab 03:
#
# $$L = \alpha\, T^2\, \mathrm{KL}\left(p^{T} \,\|\, q^{T}\right) + (1 - \alpha)\, \mathrm{CE}(q, y)$$
#
# $$p^{T} = \mathrm{softmax}(t / T), \quad q^{T} = \mathrm{softmax}(z / T)$$
#
# - $t$ and $z$ are the logits (outputs before the softmax) of teacher and student, of shape (N, C) for N pictures and C classes.
# - $T$ is the temperature. $p^{T}$ and $q^{T}$ are the softened probabilities, of shape (N, C) too; $q$ is $q^{T}$ at $T = 1$.
# - $\mathrm{KL}(p \,\|\, q) = \sum_c p(c) \log \frac{p(c)}{q(c)}$, and $\mathrm{CE}(q, y) = -\log q(y)$ for the label $y$, of
#   shape (N,). Both are averaged over the pictures.
# - $\alpha$, from 0 to 1, is the share of the teacher; $1 - \alpha$ is that of the labels. The factor $T^2$ keeps the gradient of
#   the first term of one size at all temperatures.
#
# Training chooses the student's weights. $T$ and $\alpha$ are *hyperparameters*: you choose them before training, and only a
# training of its own tells how good a choice is. This lab calls one combination of them a *setting*.
#
# ## Read the grid
#
# **Which setting is best, if we simply try all of them?** A *grid* has every one of five temperatures with every one of four
# alphas. Here there are two grids, for a student with 16 hidden units and for one with 128. With five *seeds* (numbers that fix
# what is random in a run) these are two hundred trainings, and ten without a teacher. Each student has 1,000 pictures with their
# labels; the teacher learnt from all training pictures with theirs, which may be part of what it brings. The scores are stored in a
# *ledger* (`kdcourse results 10` repeats it).
#
# **Predict**: at which temperature will the best cell of the grid lie for the small student, and at which for the large one?

# %%
best_small = kd.predict(
    "10.best-small",
    "16 units, on validation data: which temperature has the best cell?",
    options=[f"T = {t:g}" for t in kd.studies.lab_10.TEMPERATURES],
)
best_small

# %%
best_large = kd.predict(
    "10.best-large",
    "128 units, on validation data: which temperature has the best cell?",
    options=[f"T = {t:g}" for t in kd.studies.lab_10.TEMPERATURES],
)
best_large

# %%
lab = kd.studies.lab_10
stored = kd.study("10-grid", data).stored()


def scores(hidden, split):
    """Seeds × temperatures × alphas."""
    table = stored.validation if split == "validation" else stored.scores
    columns = [lab.setting(hidden, t, a) for t in lab.TEMPERATURES for a in lab.ALPHAS]
    return (
        table[columns].to_numpy().reshape(len(table), len(lab.TEMPERATURES), len(lab.ALPHAS))
    )


# %% [markdown]
# The table shows one student: each cell has its mean accuracy and, below, its gain over labels only; a star marks the best cell.
# The lines beside it show both students along the row and the column of the chosen cell. Click a cell or move the sliders. Is the
# cell that is best on validation data also the best on test data?

# %%
browser = kd.widgets.sweep_browser(
    stored,
    sizes=lab.HIDDEN,
    temperatures=lab.TEMPERATURES,
    alphas=lab.ALPHAS,
    setting=lab.setting,
    labels_only=lab.labels_only,
)
browser

# %% tags=["widget-test"]
with browser.restored():
    for hidden in lab.HIDDEN:
        for split in ("validation", "test"):
            for place in (0, 2, -1):
                temperature, alpha = lab.TEMPERATURES[place], lab.ALPHAS[place]
                browser.move(size=hidden, split=split, temperature=temperature, alpha=alpha)
                assert browser.description.startswith(lab.setting(hidden, temperature, alpha))

# %% [markdown]
# ## Choose honestly
#
# **Which number may be reported?** *Validation* pictures neither train nor judge: they are there to choose by. *Test* pictures
# judge what was chosen, once. For the accuracies $V_{s,i}$ on validation and $A_{s,i}$ on test, of seed $s$ and setting $i$, both
# of shape (seeds, settings):
#
# $$i^{*} = \mathrm{argmax}_i \frac{1}{S} \sum_s V_{s,i}$$
#
# $$\text{reported} = \frac{1}{S} \sum_s A_{s,i^{*}}$$
#
# $S$ is the number of seeds and $i^{*}$ the chosen setting.

# %%
kd.exercise("10.choose_setting")


# %% tags=["exercise"] exercise="10.choose_setting"
def choose_setting(validation, test):
    """Scores (seeds, settings) on both -> (the chosen setting's number, its mean test score)."""
    ...  # your code


# %%
choose_setting = kd.exercise("10.choose_setting").check(choose_setting)

# %% [markdown]
# **How much too good is the best test number?** Suppose you had run a single seed, as most people do. Then $S = 1$. For each seed
# we take the best test number of the twenty settings, and subtract what the setting chosen on that seed's validation data reaches
# on test. No seed's difference can be negative, because the best of twenty is at least as good as any one of them; so read its
# size. The sentence gives the mean over the seeds, with its 95 % *interval*.

# %%
gaps, promised = {}, {}
for hidden in lab.HIDDEN:
    validation, test = (
        torch.tensor(scores(hidden, split)).flatten(1) for split in ("validation", "test")
    )
    honest = [
        float(choose_setting(validation[[seed]], test[[seed]])[1]) for seed in range(len(test))
    ]
    best = test.amax(dim=1).tolist()
    gaps[hidden] = kd.difference([b - h for b, h in zip(best, honest, strict=True)])
    assert gaps[hidden].mean >= 0

# %%
kd.say(
    "The best test number of twenty lies above the honest one by "
    + "; ".join(f"{gap} for {hidden} units" for hidden, gap in gaps.items())
    + ". That much of a published gain can be nothing but the choice."
)

# %%
choices, chosen_t = {}, {}
for hidden in lab.HIDDEN:
    validation, test = (
        torch.tensor(scores(hidden, split)).flatten(1) for split in ("validation", "test")
    )
    choice, reached = choose_setting(validation, test)
    temperature, alpha = divmod(int(choice), len(lab.ALPHAS))
    choices[hidden] = lab.setting(hidden, lab.TEMPERATURES[temperature], lab.ALPHAS[alpha])
    gain = stored.difference(choices[hidden], lab.labels_only(hidden))
    kd.say(
        f"Chosen on validation: *{choices[hidden]}*, {float(reached):.1f} % on test, {gain} over "
        "labels only."
    )
    chosen_t[hidden] = f"T = {lab.TEMPERATURES[temperature]:g}"
best_small.answer(chosen_t[16])
best_large.answer(chosen_t[128])

# %% [markdown]
# To check the ledger, two settings are trained again now. The table sets their means beside the stored ones:

# %%
study = kd.study("10-grid", data)
again = study.run(lab.labels_only(16), choices[16], seeds=3)
beside = stored.beside(again, within=2)  # processors round differently
beside

# %% [markdown]
# ## Search instead of trying all
#
# **What if there are too many combinations?** Ten values each of temperature, alpha and learning rate make a grid of a thousand
# cells. A *search* tries few settings and chooses each with the help of those before. Every setting that it tries is a *trial*:
# one training with one seed, whose score is the accuracy on validation data. The library `optuna` does four things:
#
# - **It proposes.** The method is TPE, the *tree-structured Parzen estimator* (Bergstra et al. 2011). It splits the trials so far
#   into a good part and the rest. For each hyperparameter $x$ it estimates two densities: $\ell(x)$ of its values in the good
#   part, and $g(x)$ of those in the rest. Of several values drawn from $\ell$ it tries the one with the largest $\ell(x) / g(x)$:
#   frequent among good trials, rare among the others.
# - **It starts at random.** The first five trials are drawn at random, because there is nothing yet to learn from.
# - **It prunes.** Every 100 steps a trial reports its accuracy. If its best so far is below the median of the earlier trials at
#   the same step, the trial is stopped. Training time then goes to better ones.
# - **It remembers.** Every trial is written to a file when it ends. Interrupt the cell below and run it again: it goes on where
#   it stopped.

# %%
alone = lab.base(data, 64)


def learn(trial, method):
    """Train with a learning rate of the trial's choice; validation accuracy. Hopeless trials end early."""
    rate = trial.suggest_float("learning rate", 1e-3, 3e-2, log=True)

    def report(step, accuracy):
        trial.report(accuracy, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    history = kd.train(
        alone.student(seed=0),
        alone.train(0),
        method,
        teacher=cache,
        steps=alone.steps,
        learning_rate=rate,
        callbacks=[kd.training.Evaluate(data.validation, every=100, report=report)],
        progress=False,
    )
    return history.evaluations[-1][1]


def distil(trial):
    temperature = trial.suggest_float("temperature", 0.5, 20, log=True)
    alpha = trial.suggest_float("alpha", 0, 1)
    return learn(trial, kd.Distillation(temperature=temperature, alpha=alpha))


# %%
import tempfile
from pathlib import Path

journal = (
    Path(tempfile.mkdtemp()) / "search.log"
)  # a file of your own would outlive this session
kd.tuning.search(distil, 6, name="temperature-alpha-rate", file=journal)
found = kd.tuning.search(distil, 14, name="temperature-alpha-rate", file=journal)

# %%
trials = kd.tuning.finished(found)
pruned = sum(trial.state == optuna.trial.TrialState.PRUNED for trial in trials)
assert len(trials) == 14
settings = ", ".join(f"{name} {value:.3g}" for name, value in found.best_params.items())
kd.say(
    f"{len(trials)} trials, {pruned} of them pruned; best on validation {found.best_value:.1f} % "
    f"with {settings}. It was trial {found.best_trial.number + 1}. Optuna draws the first five at random, to have something to learn from: "
    "in so short a search much of the result is luck."
)

# %% [markdown]
# The first figure shows the score of every trial and the best one so far. The second, a contour plot, shows the trials as dots over
# temperature and alpha. Its colours are interpolated between these few dots: far from them they show nothing that was measured.

# %%
# Optuna calls its own plots experimental, and would restyle every later figure.
with warnings.catch_warnings(), rc_context():
    warnings.simplefilter("ignore")
    history = optuna.visualization.matplotlib.plot_optimization_history(found)
kd.plots.adopted(
    history,
    f"Optuna's history of {len(trials)} trials: the best validation accuracy ends at "
    f"{found.best_value:.1f} %.",
)

# %%
with warnings.catch_warnings(), rc_context():
    warnings.simplefilter("ignore")
    contour = optuna.visualization.matplotlib.plot_contour(
        found, params=["temperature", "alpha"]
    )
kd.plots.adopted(
    contour,
    f"Optuna's contour of validation accuracy over temperature and alpha; best at {settings}.",
)

# %% [markdown]
# ### Was it the teacher, or the learning rate?
#
# The search chose three numbers. One of them, the learning rate, helps a student without a teacher too. So the cheapest *rival*
# of tuned distillation, a simpler explanation of its gain, is a tuned student: labels only, the same search over the learning
# rate, with as many trials. What both searches have found is then trained anew with five seeds that no search has seen. Each
# *arm* of the table is one of the four recipes that are compared; the *verdict* says whether the interval of the *paired*
# difference, taken seed by seed, lies above zero, below it, or around it.
#
# **Predict**: does the teacher still help?

# %%
tuned_teacher = kd.predict(
    "10.tuned-teacher",
    "KD at the rate found for it, against labels at the rate found for them:",
    options=["helps", "hurts", "no clear difference"],
)
tuned_teacher

# %%
rates = kd.tuning.search(
    lambda trial: learn(trial, kd.HardTarget()), 14, name="rate", file=journal
)
chosen = dict(found.best_params)
tuned = replace(alone, teacher=cache, learning_rate=chosen.pop("learning rate"))
arms = {
    "labels": alone,
    "labels, rate found": replace(alone, learning_rate=rates.best_params["learning rate"]),
    "KD found": replace(tuned, method=kd.Distillation(**chosen)),
    "KD found, first rate": replace(alone, method=kd.Distillation(**chosen), teacher=cache),
}
fresh = kd.compare(arms, data, seeds=range(1, 6))
fresh.table()

# %%
teachers = fresh.difference("KD found", "labels, rate found")
tuned_teacher.answer(teachers.verdict, on=fresh.figure())

# %%
rate_alone = fresh.difference("labels, rate found")
both = fresh.difference("KD found", "KD found, first rate")
kd.say(
    f"Held against labels at the rate found for them, the teacher brings {teachers}: **{teachers.verdict}**. Tuning the learning rate brings labels only "
    f"{rate_alone} (**{rate_alone.verdict}**), and distillation {both} (**{both.verdict}**). A search that reports its best trial on validation "
    "data says none of this."
)

# %% [markdown]
# ## How long, and on how many views?
#
# **Does patience pay?** The number of steps is a hyperparameter too. Beyer et al. (2022) say that a good teacher is *patient*, because
# the student trains for very long, and *consistent*, because the teacher answers about exactly what the student sees. A *view* is a
# random window of a picture, scaled up to full size. The student of 128 units learns from the teacher alone, with no label:
#
# $$L = \frac{T^2}{N} \sum_n \mathrm{KL}\left(p^{T}(v_n) \,\|\, q^{T}(v_n)\right)$$
#
# - $v_n$ is what both networks are shown of picture $n$, of the shape of a picture.
# - $p^{T}(v_n)$ and $q^{T}(v_n)$ are their answers to it, probabilities of shape (C,), softened by $T = 4$.
# - N is the number of pictures in a step, here 32.
#
# Each seed has 500 pictures, and there are three ways to show them:
#
# - *whole pictures*: $v_n$ is the picture itself. The teacher is asked once, and its answers are cached.
# - *4 fixed views*: four views of each picture are drawn once. Their answers can be cached too, and a cached answer is exact.
# - *fresh views*: no view ever comes again, so the teacher has to be asked about each of them.
#
# The fourth arm, *labels, fresh views*, is the cheapest rival: the same views with the pictures' labels, and no teacher. The figure
# shows each way at three budgets, with five seeds. `kdcourse results 10` repeats it.
#
# **Predict**: test pictures are whole. At which budget do fresh views first beat whole pictures?

# %%
first_fresh = kd.predict(
    "10.fresh-views",
    "At how many steps do fresh views first clearly beat whole pictures?",
    options=[*(f"{steps:,} steps" for steps in lab.BUDGETS), "at none of them"],
)
first_fresh

# %%
patient = kd.study("10-patience", data).stored()
ways = ("whole pictures", f"{lab.FIXED} fixed views", "fresh views", "labels, fresh views")
patience = kd.plots.curves(
    lab.BUDGETS,
    {
        way: patient.scores[[lab.budget(way, steps) for steps in lab.BUDGETS]].to_numpy()
        for way in ways
    },
    xlabel="steps",
    ylabel="test accuracy, %",
    logarithmic=True,
)


def of_fresh(way):
    """What fresh views bring over another way, at each budget."""
    return [
        patient.difference(lab.budget("fresh views", steps), lab.budget(way, steps))
        for steps in lab.BUDGETS
    ]


over_whole = zip(lab.BUDGETS, of_fresh("whole pictures"), strict=True)
clear = [f"{steps:,} steps" for steps, gain in over_whole if gain.verdict == "helps"]
first_fresh.answer((clear or ["at none of them"])[0], on=patience)

# %% [markdown]
# A row of the table is a budget; each column is what fresh views bring over another way, with the interval. Look at how the first
# two columns change with the budget. The sentence below adds what it costs: the arithmetic of a run, the teacher's answers included.

# %%
most = [patient.facts[lab.budget(way, lab.BUDGETS[-1])].multiply_adds for way in ways[:3]]
pd.DataFrame(
    {
        f"over {way}": [gain.told(bold=False) for gain in of_fresh(way)]
        for way in ways
        if way != "fresh views"
    },
    index=[f"{steps:,} steps" for steps in lab.BUDGETS],
)

# %%
fresh, whole = (
    patient.scores[[lab.budget(way, steps) for steps in lab.BUDGETS]].to_numpy()
    for way in ("fresh views", "whole pictures")
)
turns = [lab.crossing(lab.BUDGETS, gains) for gains in fresh - whole]
if None not in turns:
    turn = kd.difference([math.log(turn) for turn in turns])
    middle, low, high = (math.exp(end) for end in (turn.mean, turn.low, turn.high))
    turning = f"the two curves cross at {middle:,.0f} steps [{low:,.0f}, {high:,.0f}], the mean of the seeds' own crossings on a logarithmic scale."
elif (fresh > whole).all():
    turning = "there is no crossing within these budgets. Fresh views are ahead at each of them, with every seed."
else:
    crossed = sum(turn is not None for turn in turns)
    turning = f"the curves cross within these budgets in {crossed} of {len(turns)} seeds, so no interval is given."

# %%
over_fixed = of_fresh(ways[1])
costly = [
    f"{steps:,} steps"
    for steps, gain in zip(lab.BUDGETS, over_fixed, strict=True)
    if gain.verdict == "helps"
]
first_cost = (
    f"Cached answers to {ways[1]} first clearly cost accuracy at {costly[0]}; at {lab.BUDGETS[-1]:,} fresh views bring {over_fixed[-1]} over them. The answers "
    "are exact. A guess at the reason: the same few views come again and again, and the student learns them by heart."
    if costly
    else f"That cached answers to {ways[1]} cost accuracy is not shown at any of these budgets."
)
kd.say(
    f"Fresh views against whole pictures: {turning}\n\n{first_cost}\n\nThe longest run takes ×{most[2] / most[0]:.1f} the arithmetic with fresh views and "
    f"×{most[1] / most[0]:.1f} with fixed ones, against whole pictures. On the same fresh views the teacher brings {of_fresh(ways[3])[-1]} over labels."
)

# %% [markdown]
# So a cache is cheap and exact, and what it can cost is variety. A patient student wants new views, and pays for them with the teacher's
# arithmetic. Whether an impatient one should see whole pictures depends on the data: on Fashion-MNIST the curves cross, on glyphs they do
# not. Beyer et al. trained for up to 9,600 epochs on ImageNet. These are small networks and few pictures, and with others the curves will
# cross elsewhere.

# %% [markdown]
# ## Choose a student under a budget
#
# **Which students are worth their cost?** A larger student is dearer, and it may be better. Candidate $j$ *beats* candidate
# $i$, with costs $c$ and scores $a$, if it costs no more and scores no less, and is strictly better in at least one of the two:
#
# $$c_j \le c_i, \quad a_j \ge a_i, \quad \text{and} \quad c_j < c_i \;\text{or}\; a_j > a_i$$
#
# The candidates that no other one beats form the *Pareto front*. Along it, more accuracy always costs more. Here $c$ and $a$,
# both of shape (K,), are the parameters and the validation accuracies of K = 8 architectures, taught alike with five seeds each.
# Which of them fit into 40,000 parameters and half a millisecond a picture? (On a fast machine all may meet the second limit.)

# %%
kd.exercise("10.worth_their_cost")


# %% tags=["exercise"] exercise="10.worth_their_cost"
def worth_their_cost(costs, scores):
    """Costs (K,), scores (K,) -> mask (K,): no other candidate is at most as costly and better."""
    ...  # your code


# %%
worth_their_cost = kd.exercise("10.worth_their_cost").check(worth_their_cost)

# %%
shapes = [(4,), (8,), (16,), (32,), (64,), (16, 16), (32, 32), (64, 32)]
taught = replace(alone, method=kd.Distillation(temperature=2, alpha=0.9), teacher=cache)
family = kd.compare(
    {
        "-".join(map(str, shape)): replace(
            taught, student=partial(kd.models.perceptron, shape, **data.sizes)
        )
        for shape in shapes
    },
    data,
    seeds=5,
)
names = list(family.scores)
students = [family.students[name][0] for name in names]

# %%
parameters = torch.tensor([float(kd.measure.parameters(one)) for one in students])
milliseconds = [kd.measure.latency(one, data.test) for one in students]
reached = torch.tensor(family.validation.mean().to_numpy())

BUDGET, SLOWEST = 40_000, 0.5  # parameters, milliseconds
kept = worth_their_cost(parameters, reached).nonzero()[:, 0].tolist()
kept.sort(key=parameters.tolist().__getitem__)
shipped = kd.tuning.front(parameters, reached).tolist()  # of equals it keeps one
assert set(kept) >= set(shipped)
kd.plots.front(
    parameters,
    reached,
    names,
    kept,
    xlabel="parameters",
    ylabel="validation accuracy, mean of five seeds, %",
    budget=BUDGET,
)

# %% [markdown]
# The figure shows every candidate as a dot; the line joins the front, and the dashed line is the budget. The front is made of
# means over seeds. Is each step along it more than luck? The table has a row for each step: the parameters that it adds, its
# paired difference on test data, and the verdict.

# %%
from itertools import pairwise

along = sorted(kept, key=lambda place: parameters[place])
steps = {
    f"{names[larger]} for {names[smaller]}": [
        f"+{int(parameters[larger] - parameters[smaller]):,}",
        str(gain := family.difference(names[larger], names[smaller])),
        gain.verdict,
    ]
    for smaller, larger in pairwise(along)
}
pd.DataFrame.from_dict(
    steps, orient="index", columns=["parameters", "test accuracy", "verdict"]
)

# %%
allowed = [
    place for place in kept if parameters[place] <= BUDGET and milliseconds[place] <= SLOWEST
]
if allowed:
    winner = max(allowed, key=lambda place: reached[place])
    kd.say(
        f"Within {BUDGET:,} parameters and {SLOWEST} ms, the best on validation: **{names[winner]}**, "
        f"{int(parameters[winner]):,} parameters, "
        f"{milliseconds[winner]:.2f} ms a picture, "
        f"{family.scores[names[winner]].mean():.1f} % on test. If the table calls the last step to it unclear, take the smaller one."
    )
else:
    kd.say(
        f"On this machine no candidate answers within {SLOWEST} ms; the fastest takes "
        f"{min(milliseconds):.2f} ms."
    )

# %% [markdown]
# ## When it does not help: what the grid can tell apart
#
# **Does it matter which cell of the grid you take?** An earlier version of this lab said no: most cells lie within one standard
# deviation over seeds of the best one. That was the wrong yardstick. A seed moves all cells together, so the difference of two
# cells, paired seed by seed, varies much less. The table counts how many of the nineteen other cells are clearly worse than the
# one chosen on validation, and how many of the twenty are clearly better or worse than labels only.
#
# Among twenty comparisons a few come out clear by luck. *Holm's correction* (1979) asks more of each interval, so that the chance
# of even one wrong verdict among all of them stays below one in twenty. The table has both counts, plain and after Holm.

# %%
from collections import Counter


def counted(outcome):
    """Verdict -> how many arms have it; plain, and after Holm's correction."""
    table = outcome.table().iloc[1:]
    return [Counter(table[column]) for column in ("verdict", "Holm")]


rows = {}
for hidden in lab.HIDDEN:
    cells = [lab.setting(hidden, t, a) for t in lab.TEMPERATURES for a in lab.ALPHAS]
    to_chosen = counted(stored.against(choices[hidden]).only(*cells))
    to_labels = counted(stored.against(lab.labels_only(hidden)).only(*cells))
    rows[f"{hidden} units"] = {
        "worse than the chosen": to_chosen[0]["hurts"],
        "after Holm": to_chosen[1]["hurts"],
        "help over labels": to_labels[0]["helps"],
        "help, after Holm": to_labels[1]["helps"],
        "hurt": to_labels[0]["hurts"],
        "hurt, after Holm": to_labels[1]["hurts"],
    }
pd.DataFrame(rows).T

# %%
edges = {
    hidden: choice
    for hidden, choice in choices.items()
    if any(f"T = {edge:g}," in choice for edge in (lab.TEMPERATURES[0], lab.TEMPERATURES[-1]))
}
kd.say(
    " ".join(
        f"With {hidden}, {row['worse than the chosen']} of 19 cells are clearly worse than the chosen one ({row['after Holm']} after Holm), and "
        f"{row['hurt']} of 20 are worse than labels only ({row['hurt, after Holm']} after Holm)."
        for hidden, row in rows.items()
    )
    + " Choosing matters, but it need not be fine: the rest cannot be told from the chosen cell."
    + (
        f" The temperature chosen for {' and '.join(map(str, edges))} units lies at the edge of the grid: the best may lie beyond it."
        if edges
        else ""
    )
)

# %% [markdown]
# ## Watch it train
#
# The *dashboard* below trains three students, one after the other, while the notebook stays free. Its buttons and sliders act on
# the student that is being trained. The first is yours to steer; the two others are for the question.
#
# **Predict**: which loss curve will end lower, the one at *T = 1* or the one at *T = 8*?

# %%
lower_curve = kd.predict(
    "10.lower-curve",
    "Whose loss is lower, over the last 50 steps?",
    options=["T = 1", "T = 8"],
)
lower_curve

# %%
watched = replace(alone, teacher=cache, steps=800)
watch = kd.widgets.dashboard(
    {
        "yours": replace(
            watched, method=kd.Distillation(temperature=4, alpha=0.5), steps=2400
        ),
        "T = 1": replace(watched, method=kd.Distillation(temperature=1, alpha=0.9)),
        "T = 8": replace(watched, method=kd.Distillation(temperature=8, alpha=0.9)),
    }
)
watch

# %% tags=["widget-test"]
assert all(name in watch.description for name in ("yours: ", "T = 1: ", "T = 8: "))

# %% [markdown]
# The next cell waits until all runs have ended; *Interrupt* stops them earlier. Each run leaves its weights in a file, a stopped
# one too.

# %%
taught = watch.wait()
again = watch.runs["yours"].load()
with torch.no_grad():
    assert torch.equal(again(data.test.images[:100]), taught["yours"](data.test.images[:100]))
pair = [watch.runs[name] for name in ("T = 1", "T = 8") if not watch.runs[name].touched]
for run in pair:
    kd.say(
        f"*{run.name}*: loss {sum(run.losses[-50:]) / 50:.2f} over the last 50 steps, "
        f"{kd.measure.accuracy(run.student, data.validation):.1f} % on validation."
    )
if len(pair) == 2:  # a run that a hand has changed answers nothing
    lower_curve.answer(min(pair, key=lambda run: sum(run.losses[-50:])).name, on=watch.figure)

# %% [markdown]
# The course tests its dashboard with a run of its own, so that nothing is done to yours.

# %% tags=["widget-test"]
tried = kd.widgets.dashboard({"tried": watch.runs["yours"].recipe}, folder=tempfile.mkdtemp())

# %% tags=["widget-test"]
if tried.running:
    tried.press("pause")
    tried.press("go on")
    for temperature, alpha in ((0.1, 0.0), (4.0, 0.5), (100.0, 1.0)):
        tried.move(temperature=temperature, alpha=alpha)
    while not tried.runs["tried"].changes and tried.running:
        time.sleep(0.01)
    tried.press("stop")
tried.background.wait()
assert "by hand, so no measurement: tried" in tried.description

# %% [markdown]
# Does the lower curve belong to the better student? That cannot be read off the curves. A loss at T = 1 and a loss at T = 8 are
# two different measures: a curve jumps when you move T, though the student is the same. The height of a curve can only be
# compared within one run at one setting. Students are compared by their accuracy, and with more than one seed.

# %% [markdown]
# ## Recap
#
# - Choose on validation data, report on test data, once. The best test number of many promises too much.
# - A search proposes settings like the good ones so far, stops bad trials early, and goes on after an interrupt.
# - A cached answer is exact for the view that it was asked about. What can cost accuracy is to see the same few views again and again.
# - The Pareto front says what each point of accuracy costs; the budget says where to stop.
# - Give the rival the same freedom: tuned distillation is held against a tuned student without a teacher.
# - Which cells of a grid differ is a question for paired intervals, corrected for their number, and not for the eye.
#
# ### Check yourself

# %%
quiz = kd.quiz("10")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Give the search 50 trials and a file of your own. How much better is it than the grid, at which price?
# - Search architecture and temperature together, with two objectives: accuracy and parameters.
# - Repeat the honest choice with one seed, three and five: how often does the chosen setting change?
#
# **At full size** (a GPU): convolutional student and teacher and all pictures, as in the published tables of lab 04. Is the
# setting that was chosen for 128 units and 1,000 pictures still good there? To search there, give `learn` the same student,
# teacher and pictures.

# %%
chosen_for_few = (lab.labels_only(128), choices[128])
shape = {"classes": len(data.classes), "channels": data.train.images.shape[1]}
full = kd.at_full_size(
    {name: study.recipes[name] for name in chosen_for_few},
    data,
    seeds=3,
    student=partial(kd.models.convnet, (8, 16, 32, 32), **shape),
    teacher=kd.TeacherCache(kd.zoo.teacher("convnet", data)),
    train=data.train,
    steps=2500,
    batch_size=256,
)

# %% [markdown]
# ### Read further
#
# - Beyer et al. (2022), *Knowledge distillation: A good teacher is patient and consistent*.
# - Akiba et al. (2019), *Optuna: A Next-generation Hyperparameter Optimization Framework*.
# - Bergstra, Bengio (2012), *Random Search for Hyper-Parameter Optimization*.
# - Bergstra, Bardenet, Bengio, Kégl (2011), *Algorithms for Hyper-Parameter Optimization*: TPE.
# - Bouthillier et al. (2021), *Accounting for Variance in Machine Learning Benchmarks*.
