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
# # Distil progressively
#
# A better teacher should make a better student. Often it does not, as a professor can be a poor teacher for a beginner. The
# *capacity gap* is what a small student loses when its teacher is far larger than the best one for it. An *assistant* is a
# network of a size between the two: the large teacher teaches it, and then it teaches the student.
#
# **You will** see the gap as a curve, build chains of assistants, hold them against cheaper remedies, and ask what a student costs.
# **You will learn** why a larger and better teacher can teach a small student worse, how to choose a teacher, and when one is worth
# its price.
# **You need** lab 03. **Time:** 55 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace

import torch
from torch.nn import functional as F

data = kd.load_images()

# %% [markdown]
# ## See what a teacher says to a beginner
#
# Two teachers have learnt from all 55,000 labelled pictures. Both are networks with one hidden layer; one has 16 hidden
# units, the other 256. The student will have 8 hidden units and 1,000 pictures. First: which teacher is better?

# %%
lab = kd.studies.lab_08
small, large = (lab.taught_by(data, hidden, seed=0) for hidden in (16, 256))
accuracy = {
    name: kd.measure.accuracy(cache.teacher, data.test)
    for name, cache in (("16 units", small), ("256 units", large))
}

# %%
assert accuracy["256 units"] > accuracy["16 units"]
kd.say(
    ", ".join(f"{name}: **{value:.1f} %**" for name, value in accuracy.items())
    + " on the test pictures."
)

# %% [markdown]
# The figure shows what both teachers say of the same picture, softened at the same temperature: their *logits* (the outputs
# before the softmax) are divided by T = 4. The *entropy* above each panel is larger the more classes share the probability. Move
# through the pictures. Which of the two answers could a network with eight hidden units give too?

# %%
shown = data.test.take(torch.arange(200))
softened = {
    name: (cache.logits(shown) / lab.TEMPERATURE).softmax(dim=1)
    for name, cache in (("16 units", small), ("256 units", large))
}


def listen(picture):
    return kd.plots.distributions(
        {name: p[picture] for name, p in softened.items()}, data.classes
    )


# %%
import ipywidgets as widgets

listener = kd.widgets.live(
    listen, picture=widgets.IntSlider(0, min=0, max=199, description="picture")
)
listener

# %% tags=["widget-test"]
with listener.restored():
    for picture in (0, 100, 199):
        listener.move(picture=picture)
        assert "256 units: " in listener.description

# %% [markdown]
# The large network seems to be surer of its answers. Is this because of its size, or because it was trained for so long? The
# table holds both teachers twice: stopped after 100 of their 1,500 steps, and at the end. Each number is the mean probability of
# the class that the teacher finds most likely. Compare the change along a row (more steps) with the change along a column (more
# units).

# %%
import pandas as pd


def confidence(teacher):
    return teacher.logits(shown).softmax(dim=1).max(dim=1).values.mean().item()


sureness = pd.DataFrame(
    {
        "after 100 steps": {
            f"{hidden} units": confidence(lab.taught_by(data, hidden, seed=0, steps=100))
            for hidden in (16, 256)
        },
        "after 1,500 steps": {"16 units": confidence(small), "256 units": confidence(large)},
    }
).round(2)
sureness

# %%
by_size, by_steps = sureness.diff().iloc[1].mean(), sureness.T.diff().iloc[1].mean()
kd.say(
    f"Sixteen times the size raises it by {by_size:.2f}, fifteen times the steps by {by_steps:.2f}, each averaged over the other. How sure a "
    "teacher is depends on how long it was trained, too. Keep this in mind: a temperature softens its answers at no cost."
)

# %% [markdown]
# ## See the gap as a curve
#
# **Does a student learn more from a larger teacher?** In this lab a student learns from the teacher alone, with no label in its
# loss:
#
# $$L_{h,T} = T^2\, \mathrm{KL}\left(p_h^{T} \,\|\, q^{T}\right)$$
#
# $$p_h^{T} = \mathrm{softmax}(t_h / T), \quad q^{T} = \mathrm{softmax}(z / T)$$
#
# - $t_h$ are the logits of the teacher with $h$ hidden units and $z$ those of the student, both of shape (N, C) for N pictures
#   and C classes.
# - $T$ is the temperature. $p_h^{T}$ and $q^{T}$ are the softened probabilities, of the same shape as the logits.
# - $\mathrm{KL}(p \,\|\, q) = \sum_c p(c) \log \frac{p(c)}{q(c)}$ is summed over the classes $c$ and averaged over the pictures;
#   it is 0 where both say the same.
#
# Four teachers are compared, with $h$ = 16, 64, 256 and 1,024.
#
# **Predict**: draw student accuracy against teacher size on paper before you run the next cells. Under which teacher does the
# student learn best?

# %%
best_teacher = kd.predict(
    "08.best-teacher",
    "At T = 4, on validation data: under which teacher does the student learn best?",
    options=[f"{hidden} units" for hidden in lab.SIZES],
)
best_teacher

# %% [markdown]
# Under each teacher the same student was trained with the same 1,000 pictures and the same *budget* (pictures seen in training),
# at four temperatures and with five *seeds* (numbers that fix what is random in a run). The two teachers that the course ships
# were added. The scores are stored in a *ledger* (`kdcourse results 08` repeats it).
#
# Teachers of different size also differ in how sure they are. So the student's curve is drawn twice: at T = 4 for all teachers,
# and at the temperature that is best for each teacher on *validation* data, pictures that neither train nor judge. Look at where
# each curve is highest. The bands are 95 % intervals over the seeds; the dashed line is the student with labels only.

# %%
teachers = kd.study("08-teachers", data).stored()
gap = kd.study("08-capacity-gap", data).stored()
sizes = list(lab.SIZES)
named = [f"{hidden} units" for hidden in sizes]
at_four = [lab.setting(hidden, 4) for hidden in sizes]
chosen = [
    gap.best(among=[lab.setting(hidden, t) for t in lab.TEMPERATURES]) for hidden in sizes
]

curve = kd.plots.curves(
    sizes,
    {
        "teacher": teachers.scores[named].to_numpy(),
        "student, T = 4": gap.scores[at_four].to_numpy(),
        "student, T by validation": gap.scores[chosen].to_numpy(),
    },
    levels={"student, labels only": gap.scores["labels only"]},
    xlabel="hidden units of the teacher",
    ylabel="test accuracy, %",
    logarithmic=True,
)
best_teacher.answer(named[at_four.index(gap.best(among=at_four))], on=curve)

# %% [markdown]
# **How wide is the gap if every teacher has a temperature of its own?** Whatever is chosen, is chosen on validation data; the gap
# is reported on test data, seed by seed, so that it gets an interval:
#
# $$T_h = \mathrm{argmax}_T \overline{V}_{h,T}, \qquad b = \mathrm{argmax}_h \overline{V}_{h,T_h}$$
#
# $$g_s = A_{s,H,T_H} - A_{s,b,T_b}$$
#
# - $V_{s,h,T}$ and $A_{s,h,T}$ are the validation and the test accuracy of the student of seed $s$ under the teacher with $h$
#   units at temperature $T$, in percent: tensors of shape (seeds, K, temperatures) for K teachers. $\overline{V}_{h,T}$ is the
#   mean of $V_{s,h,T}$ over the seeds.
# - $T_h$ is the temperature chosen for teacher $h$, $b$ the size of the best teacher, and $H$ the largest size.
# - $g_s$ is the gap of seed $s$, in points, of shape (seeds,). It is negative where the largest teacher costs something.

# %%
kd.exercise("08.capacity_gap")


# %% tags=["exercise"] exercise="08.capacity_gap"
def capacity_gap(sizes, validation, test):
    """Sizes (K,) growing, student's scores (seeds, K, temperatures) -> (best size, largest minus best, (seeds,))."""
    ...  # your code


# %%
capacity_gap = kd.exercise("08.capacity_gap").check(capacity_gap)

# %%
columns = [lab.setting(hidden, t) for hidden in sizes for t in lab.TEMPERATURES]
validation, test = (
    torch.tensor(table[columns].to_numpy()).reshape(len(table), len(sizes), -1)
    for table in (gap.validation, gap.scores)
)  # (seeds, teachers, temperatures)
four = [lab.TEMPERATURES.index(4)]
best_at_four, at_fixed = capacity_gap(
    torch.tensor(sizes), validation[:, :, four], test[:, :, four]
)
best, at_own = capacity_gap(torch.tensor(sizes), validation, test)
at_fixed, at_own = kd.difference(at_fixed), kd.difference(at_own)

# %%
place = sizes.index(int(best_at_four))
better = kd.difference(teachers.scores[named[-1]] - teachers.scores[named[place]])
softened = kd.difference(
    gap.scores[chosen[-1]]
    - gap.scores[chosen[place]]
    - (gap.scores[at_four[-1]] - gap.scores[at_four[place]])
)
assert better.low > 0 and at_fixed.high < 0, (better, at_fixed)
by_temperature = {
    "helps": "So a part of what looked like capacity was the temperature, and the cheapest remedy is another number in the loss.",
    "hurts": "So the temperature does not explain the gap.",
}
kd.say(
    f"The largest teacher is {better} better than the one with {int(best_at_four)} units, which validation data choose. At T = 4 its student is "
    f"{at_fixed} against the student of the other: **{at_fixed.verdict}**. A better teacher can teach worse."
)
kd.say(
    f"With the temperature chosen for each teacher ({chosen[sizes.index(int(best))]}; {chosen[-1]}) the student of the largest is {at_own} against "
    f"that of the best: **{at_own.verdict}**. For the two teachers of the first sentence, choosing the temperature has changed the gap by {softened} ({softened.verdict}). "
    + by_temperature.get(
        softened.verdict, "So these seeds do not show that the temperature explains the gap."
    )
    + (
        " Some of these temperatures lie at the edge of the four that were tried: a better one may lie beyond."
        if any(lab.setting(hidden, t) in chosen for hidden in sizes for t in (1, 8))
        else ""
    )
)

# %% [markdown]
# How much does each teacher bring? The table holds the student under each teacher, at the temperature chosen for that
# teacher, against *labels only*. The two shipped teachers, of other architectures, were tried at T = 4 alone. A row is an
# *arm*, one of the compared *recipes* (full descriptions of one training). *±* is half the width of the mean's 95 % interval.
# The *difference* is *paired*, taken seed by seed, with its interval in brackets. The *verdict* says whether this interval
# lies above zero (helps), below it (hurts), or around it; *Holm* is the verdict once it is allowed for that several arms are
# compared.

# %%
gap.only(*chosen, "shipped perceptron", "shipped convnet").table()

# %% [markdown]
# ## Bridge it with an assistant
#
# **Can a network of a size in between explain the large teacher to the small student?** The chain has two losses, one after the
# other, both of the kind above. First the teacher teaches the assistant; then the assistant is frozen and teaches the student:
#
# $$L_{\mathrm{assistant}} = T^2\, \mathrm{KL}\left(p^{T} \,\|\, a^{T}\right)$$
#
# $$L_{\mathrm{student}} = T^2\, \mathrm{KL}\left(a^{T} \,\|\, q^{T}\right)$$
#
# - $p^{T}$, $a^{T}$ and $q^{T}$ are the softened probabilities of teacher, assistant and student, each of shape (N, C), all at
#   $T = 4$.
# - The first loss is computed on all 55,000 pictures, without labels; the second on the student's 1,000 pictures.
#
# A longer chain has more assistants, each the teacher of the next. If all networks of a chain are built alike, they are the
# born-again *generations* of lab 07.

# %%
kd.exercise("08.teach_through_assistants")


# %% tags=["exercise"] exercise="08.teach_through_assistants"
def teach_through_assistants(teacher, assistants, student, distil):
    """Models from large to small, and distil(pupil, teacher) -> trained pupil. Returns the student."""
    ...  # your code


# %%
teach_through_assistants = kd.exercise("08.teach_through_assistants").check(
    teach_through_assistants
)

# %% [markdown]
# Use your function once: the teacher with 256 units, an assistant with 16, the student with 8. (In the package a chain is
# `kd.schemes.Chain`, a list of recipes; each is taught by the one before.) The sentence below compares the student with one
# that the large teacher has taught directly. It is a single run, so it is an example and no result.

# %%
alone = lab.student_recipe(data)
listening = replace(alone, method=kd.SoftTarget(lab.TEMPERATURE), teacher=large)
assistant = replace(
    listening,
    student=lab.of_size(data, 16),
    train=data.train.unlabelled(),
    learning_rate=3e-3,
)
between, student = assistant.student(seed=1000), listening.student(seed=0)


def distil(pupil, teacher):
    how = listening if pupil is student else assistant
    replace(how, student=lambda seed: pupil, teacher=kd.TeacherCache(teacher)).run(seed=0)
    return pupil


last = teach_through_assistants(large.teacher, [between], student, distil)
directly = listening.run(0)

# %%
kd.say(
    f"Assistant {kd.measure.accuracy(between, data.test):.1f} %, its student "
    f"{kd.measure.accuracy(last, data.test):.1f} %; "
    "taught by the large teacher directly "
    f"{kd.measure.accuracy(directly, data.test):.1f} %."
)

# %% [markdown]
# ## Measure the bridges
#
# **Does an assistant bring more than what costs less?** An assistant is a second training. Its *rivals*, which could explain the
# same gain and are cheaper, are
#
# - another temperature: the large teacher teaches directly, with $T$ = 1, 2 or 8 in the loss above instead of 4;
# - twice the student's steps under the large teacher;
# - a teacher that was *stopped early* (Cho and Hariharan 2019). The loss is the same, with $p^{T}$ from the weights after 100
#   steps instead of 1,500. Such a teacher has the size of the large one, but simpler and less sure answers.
#
# The arms of the table are the largest teacher directly (1,024 units, T = 4), through one assistant of each size, through
# three in a row, labels only, and the rivals. Every seed has a teacher of its own. *Arithmetic* counts the multiplications of
# a whole run, assistants included, as a multiple of the first arm's; the training of the large teacher is not counted.
# Differences and verdicts are against *direct*. The figure shows the same.

# %%
bridges = kd.study("08-assistants", data)
stored = bridges.stored()
stored.table()

# %%
stored.figure()

# %% [markdown]
# To check the ledger, a part of it is trained again now: the student alone and under the two teachers above, three seeds. The
# table sets the new means beside the stored ones.

# %%
study = kd.study("08-capacity-gap", data)
again = study.run("labels only", lab.setting(16, 4), lab.setting(256, 4), seeds=3)
beside = gap.beside(again, within=2.5)  # processors round differently
beside

# %%
through = [arm for arm in stored.scores if arm.startswith("through")]
rivals = [arm for arm in stored.scores if arm.startswith("direct")] + ["stopped early"]
bridge, rival = stored.best(among=through), stored.best(among=rivals)
early, against = stored.difference("stopped early"), stored.difference(bridge, rival)

kd.say(
    f"Chosen on validation data, the best bridge is *{bridge}*: {stored.difference(bridge)} against direct teaching at T = 4 "
    f"(**{stored.difference(bridge).verdict}**). The best of its cheap rivals, which add no second teacher, is *{rival}*. Held against that "
    f"one the bridge brings {against}: **{against.verdict}**."
)
kd.say(
    f"The teacher that was stopped early brings {early} (**{early.verdict}**), at a fifteenth of the teacher's training. The teacher with 16 units, "
    f"taught by labels, brings {gap.difference(lab.setting(16, 4))} over labels only, the best bridge {stored.difference(bridge, 'labels only')}: "
    "an assistant is for those who were given the large teacher and nothing else."
)

# %% [markdown]
# ### Beside the published figures
#
# | none | KD | through an assistant | setting |
# |---|---|---|---|
# | 61.37 | 61.41 | 61.82 | ResNet-110 → ResNet-8 on CIFAR-100, Mirzadeh et al. 2020 |
#
# The numbers are test accuracies in percent. In that setting the large teacher alone brings next to nothing, and the assistant a
# little.
#
# ## When it does not help: a longer chain
#
# **If one assistant helps, do three help more?** Every stage costs as much training as the student, and every stage passes on a
# little less than it was told. **Predict**: three assistants in a row, against the best single one, chosen on validation data.

# %%
three_in_a_row = kd.predict(
    "08.three-in-a-row",
    "Three assistants in a row, against the best single one:",
    options=["helps", "hurts", "no clear difference"],
)
three_in_a_row

# %%
single = stored.best(among=[arm for arm in through if "," not in arm])
longer = stored.difference("through 256, 64, 16", single)
last_alone = stored.difference("through 256, 64, 16", "through 16")
assert longer.verdict != "helps", longer
kd.say(
    f"Three assistants in a row against *{single}*: {longer}, **{longer.verdict}**, for twice the training in all. Against *through 16*, which "
    f"keeps only the last of the three: {last_alone}, **{last_alone.verdict}**."
)
three_in_a_row.answer(longer.verdict)

# %% [markdown]
# ## When is distillation worth its price?
#
# **Would the same arithmetic do more in plain training?** In all tables above, students are compared at equal steps. But a taught
# student costs more than a plain one: a teacher answers, and somebody has trained it. The *price* $P$ of a taught student counts
# all multiplications, with their additions (*multiply-adds*):
#
# $$P = 3\, S\, B\, m_q + D\, m_t + 3\, S_t\, B\, m_t$$
#
# - The first term is the student's training: $S$ steps of $B$ = 128 pictures each. $m_q$ is what the student multiplies for one
#   picture. The 3 stands for one pass forward and one backward, which costs about two.
# - The second term is the answers: the teacher multiplies $m_t$ times for each of the $D$ different pictures that the student
#   looks at. It is asked once about each.
# - The third term is the teacher's own training, of $S_t$ steps.
#
# Who pays the third term? The teacher is *given* where somebody else has trained it; the term is left out. The teacher is *paid
# for* where it was trained for this one student. A plain student, with labels and no teacher, has the first term alone.
#
# Busbridge et al. (2025) asked this of language models, over many sizes, data and budgets. Here is a small grid of the same kind:
# students of 8 and 32 units; teachers of 64 and 128, trained for 1,000 steps on all labelled pictures; 500, 5,000 or all pictures for
# the student; 100, 400 or 1,600 steps. Plain students go on for up to 25,600 steps, so that each price can be met.
#
# What differs between the arms besides the price? A taught student has the teacher's answers to its pictures and no labels, a
# plain one the labels. The pictures, first weights and batches are the same. The temperature was chosen for each size and number of
# pictures, on validation data and with seeds that are not reported here; the learning rate is one for all.
#
# A taught student is held against what its price buys: of all plain students up to the first that costs at least as much, the
# best on validation data. So plain training may stop early, and it never gets less than the price. Where the teacher is given,
# the plain student has the labels of the same pictures. Where it is paid for, the teacher's labels are at hand, so the plain
# student has them all.
#
# **Predict**: the student has 8 units and all pictures, and a teacher of 64 units is given. Here each interval speaks for itself.

# %%
worth_it = kd.predict(
    "08.worth-its-price",
    "From how many steps on does the taught student clearly beat plain training of the same price?",
    options=[*(f"{steps:,} steps" for steps in lab.BUDGETS), "at none of them"],
)
worth_it

# %% [markdown]
# The figure shows the test accuracy against the price, on a logarithmic axis, with bands as above. Each line of taught students
# stands there twice, at the price with the teacher given and with the teacher paid for. The sliders choose the student, the
# teacher, the pictures and the steps; the ringed student is held against its rivals in the sentence below. Move the pictures from
# 500 to all: which line moves most?

# %%
scaling = kd.study("08-scaling", data).stored()
amounts = {lab.of_pictures(amount): amount for amount in lab.AMOUNTS}


def line(arms, *also):
    """Prices in billions, with what else is to be paid, and the seeds' scores."""
    prices = [sum(scaling.facts[one].multiply_adds for one in (arm, *also)) for arm in arms]
    return [price / 1e9 for price in prices], scaling.scores[arms].to_numpy()


def plain(student, amount):
    return [lab.alone(student, amount, steps) for steps in lab.plain_budgets(student, amount)]


def held_against(one):
    """A bill in words."""
    gain, buys = scaling.difference(one.arm, one.rival), scaling.facts[one.rival].steps
    price = f"{one.price / 1e9:.1f} billion"
    return f"{price}, {gain} against plain training of {buys:,} steps, {gain.verdict}"


# %%
def at_a_price(student, teacher, pictures, steps):
    amount = amounts[pictures]
    taught = [lab.under(teacher, student, amount, budget) for budget in lab.BUDGETS]
    lines = {
        "labels, all pictures": line(plain(student, None)),
        "taught, teacher given": line(taught),
        "taught, teacher paid for": line(taught, lab.the_teacher(teacher)),
    }
    if amount is not None:
        lines[f"labels, {pictures}"] = line(plain(student, amount))
    figure = kd.plots.priced(
        lines,
        xlabel="billions of multiply-adds",
        ylabel="test accuracy, %",
        marked=dict.fromkeys(list(lines)[1:3], lab.BUDGETS.index(steps)),
    )
    cell = (scaling, teacher, student, amount, steps)
    given, paid = (held_against(lab.bill(*cell, paid=paid)) for paid in (False, True))
    arm = lab.under(teacher, student, amount, steps)
    figure.description = f"{arm}. Given: {given}. Paid for: {paid}. {figure.description}"
    return figure


# %%
wide = {"layout": {"width": "420px"}}
prices = kd.widgets.live(
    at_a_price,
    student=widgets.SelectionSlider(options=lab.STUDENTS, description="student", **wide),
    teacher=widgets.SelectionSlider(options=lab.TEACHERS, description="teacher", **wide),
    pictures=widgets.SelectionSlider(options=list(amounts), description="pictures", **wide),
    steps=widgets.SelectionSlider(
        options=lab.BUDGETS, value=lab.BUDGETS[1], description="steps", **wide
    ),
)
prices

# %% tags=["widget-test"]
with prices.restored():
    for end in (0, -1):
        prices.move(student=lab.STUDENTS[end], teacher=lab.TEACHERS[end])
        prices.move(pictures=list(amounts)[end], steps=lab.BUDGETS[end])
        arm = lab.under(
            lab.TEACHERS[end], lab.STUDENTS[end], lab.AMOUNTS[end], lab.BUDGETS[end]
        )
        assert prices.description.startswith(f"{arm}. Given: ")

# %% [markdown]
# The two tables hold the whole grid, first with the teacher given, then with the teacher paid for. Each cell is the taught student
# less the plain one that its price buys, paired by seed. With so many comparisons some come out clear by luck; the sentences below
# the tables count verdicts after Holm's correction for their number.

# %%
from itertools import product

from kdcourse.evaluation.intervals import holm

cells = list(product(lab.STUDENTS, lab.TEACHERS, lab.AMOUNTS, lab.BUDGETS))


def bills(paid):
    """(student, teacher, pictures, steps) -> the bill."""
    return {
        (student, teacher, amount, steps): lab.bill(
            scaling, teacher, student, amount, steps, paid=paid
        )
        for student, teacher, amount, steps in cells
    }


def gaps(bills):
    """Each taught student less what its price buys, one number for each seed."""
    return {
        cell: scaling.scores[one.arm] - scaling.scores[one.rival]
        for cell, one in bills.items()
    }


# %%
def as_table(gaps):
    table = {}
    for (student, teacher, amount, steps), values in gaps.items():
        row = table.setdefault(
            f"{student} units under {teacher}, {lab.of_pictures(amount)}", {}
        )
        gain = kd.difference(values)
        row[f"{steps:,} steps"] = f"{gain}, {gain.verdict}"
    return pd.DataFrame.from_dict(table, orient="index")


# %%
given, paid = bills(paid=False), bills(paid=True)
as_table(gaps(given))

# %%
as_table(gaps(paid))

# %%
free, bought = gaps(given), gaps(paid)
with_all = {steps: kd.difference(free[8, 64, None, steps]) for steps in lab.BUDGETS}
clear = [f"{steps:,} steps" for steps, gain in with_all.items() if gain.verdict == "helps"]
worth_it.answer((clear or ["at none of them"])[0])

# %%
words = pd.DataFrame(
    [
        (f"teacher {who}", lab.of_pictures(amount), f"{student} units", steps, word)
        for who, found in (("given", free), ("paid for", bought))
        for (student, _, amount, steps), word in holm(found).items()
    ],
    columns=["who pays", "pictures", "student", "steps", "verdict"],
)
words.groupby(["who pays", "pictures"], sort=False)["verdict"].value_counts().unstack(
    fill_value=0
)


# %%
def in_words(found):
    """How many students helped, and so on."""
    return ", ".join(f"{verdict}: {count}" for verdict, count in found.value_counts().items())


def extremes(gaps, amount):
    """The smallest and the largest mean difference with so many pictures."""
    found = [kd.difference(values) for cell, values in gaps.items() if cell[2] == amount]
    return min(found, key=lambda gain: gain.mean), max(found, key=lambda gain: gain.mean)


few, many = (extremes(free, amount) for amount in (lab.AMOUNTS[0], None))
for_one = words["verdict"][words["who pays"] == "teacher paid for"]
assert few[0].low > 0 and "helps" not in set(for_one) and (for_one == "hurts").mean() > 0.5
kd.say(
    f"A given teacher brings between {few[0]} and {few[1]} over what its price buys where the student has {lab.of_pictures(lab.AMOUNTS[0])}, and between "
    f"{many[0]} and {many[1]} where it has all. Paid for, it is clearly worth its price for none of the {len(for_one)} students ({in_words(for_one)})."
)

# %%
import numpy as np


def just(student, price):
    """The seeds' scores of plain training on all pictures at just this price, on the straight lines of the figure."""
    prices, scores = line(plain(student, None))
    return [np.interp(np.log(price / 1e9), np.log(prices), seed) for seed in scores]


# %%
dearer = max(scaling.facts[one.rival].multiply_adds / one.price for one in given.values())
losing = [cell for cell, word in holm(free).items() if cell[2] is None and word == "hurts"]
just_priced = holm(
    {
        cell: scaling.scores[given[cell].arm] - just(cell[0], given[cell].price)
        for cell in losing
    }
)
still = list(just_priced.values()).count("hurts")
choice = kd.study("08-scaling-choice", data).stored()
rates = [
    [f"{lab.alone(8, amount, steps)}, rate {rate:g}" for steps in lab.BUDGETS[1:]]
    for amount in lab.AMOUNTS
    for rate in lab.RATES
]
best = [choice.validation[choice.best(among=arms)] for arms in rates]
others = [kd.difference(new - old) for old, new in zip(best[::2], best[1::2], strict=True)]
kd.say(
    f"Is plain training treated fairly? It was run for few budgets, so what a price buys cost up to ×{dearer:.1f} of it. Of the {len(losing)} students with all pictures "
    f"that lose to a given teacher's price, {still} also lose to plain training of just their price, read from the straight lines between budgets in the figure. Another learning rate, {lab.RATES[1]:g}, would "
    f"have changed the best plain student of 8 units by {max(others, key=lambda gain: gain.mean)} at most, on the validation data of the choice."
)

# %% [markdown]
# A part of the grid is trained again now: one plain student and one under a teacher, three seeds. The table sets the new means
# beside the stored ones.

# %%
short = (lab.alone(8, 500, 100), lab.under(64, 8, 500, 100))
scaling.beside(kd.study("08-scaling", data).run(*short, seeds=3), within=2.5)

# %% [markdown]
# ### Beside the published finding
#
# Busbridge et al. (2025) fit laws to language models of many sizes. They find: where a teacher exists, or serves many students,
# distillation beats plain training up to an amount of arithmetic that grows with the student; where one must be trained for a
# single student, plain training is mostly the better choice. Their text never repeats, and no label is missing: the next word is
# always known. The rows *all pictures* are the nearest to this here, and with the teacher given they are also the limit for a
# teacher that very many students share. But here pictures repeat, the teacher's answers are always on the bill, and the networks
# are tiny.

# %%
alike = words[(words["who pays"] == "teacher given") & (words["pictures"] == "all pictures")]
by_size = [
    f"the student of {size}, {in_words(found)}"
    for size, found in alike.groupby("student", sort=False)["verdict"]
]
stops = sorted(
    {scaling.facts[one.rival].steps for cell, one in given.items() if cell[2] == 500}
)
kd.say(
    f"Their second finding is repeated here. Their first, with all pictures and the teacher given, after Holm's correction: {'; '.join(by_size)}. "
    + (
        "So a level up to which distillation is ahead is not seen in this grid, for either size."
        if "helps" not in set(alike["verdict"])
        else "The table says at which budgets it is ahead."
    )
    + " What a given teacher is worth here seems to come from labels that the student has not. With 500 pictures the best rival stops after "
    f"{' or '.join(f'{steps:,}' for steps in stops)} steps, however much longer it could train: arithmetic does not buy what those labels told the teacher."
)

# %% [markdown]
# ## Recap
#
# - Student accuracy against teacher size can fall while the teachers get better: the capacity gap.
# - A teacher becomes surer of its answers the longer it is trained. Choose the temperature for each teacher before you blame its
#   size.
# - An assistant is meant to bridge part of the gap. Whether it does is measured, against what costs less: another temperature, an
#   earlier stop, more steps.
# - Choose a teacher by what its student learns, on validation data, not by its own accuracy.
# - A teacher that exists already was worth its price where labels were few. Trained for one student alone, none was clearly worth
#   it. Ask what the same arithmetic does in plain training.
#
# ### Check yourself

# %%
quiz = kd.quiz("08")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Give the student 128 units instead of 8. Is there still a gap?
# - Stop the large teacher after 50, 100, 200 steps, and choose T for each on validation data. What is left of the gap?
# - Let the student see all pictures without labels, not 1,000. What is left of the gap?
# - Stop the teacher that is paid for after 250 of its 1,000 steps. Is it worth its price now?
#
# **At full size** (a GPU): the student has all labelled pictures too, as in Mirzadeh et al. (2020), and the course's
# convolutional network is the largest teacher.

# %%
arms = ("labels only", lab.setting(16, 4), lab.setting(256, 4), "shipped convnet")
full = kd.at_full_size(
    {name: study.recipes[name] for name in arms},
    data,
    seeds=3,
    train=data.train,
    steps=3000,
    batch_size=512,
)

# %% [markdown]
# ### Read further
#
# - Mirzadeh et al. (2020), *Improved Knowledge Distillation via Teacher Assistant*.
# - Cho, Hariharan (2019), *On the Efficacy of Knowledge Distillation*: teachers stopped early.
# - Busbridge et al. (2025), *Distillation Scaling Laws*: when is distillation worth its price?
# - Huang et al. (2022), *Knowledge Distillation from A Stronger Teacher*: a loss that asks less (`kd.Correlation`).
