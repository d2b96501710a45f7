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
# A better teacher should make a better student. Often it does not: a professor can be a poor teacher for a beginner. The *capacity
# gap* is that loss, and an *assistant*, taught by the large teacher and teaching the small student, is a bridge across it.
#
# **You will** see the gap as a curve, build chains of assistants, and try the cheapest bridge of all.
# **You will learn** why a teacher can be too good, and how to choose one.
# **You need** lab 03. **Time:** 40 minutes of yours; the machine needs about a minute in all.

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
# Two teachers, one with 16 hidden units and one with 256, have learnt from all 55,000 labelled pictures. The student will have 8
# units and 1,000 pictures.

# %%
lab = kd.studies.lab_08
small, large = (lab.taught_by(data, hidden, seed=0) for hidden in (16, 256))
accuracy = {
    name: kd.measure.accuracy(cache.teacher, data.test)
    for name, cache in (("16 units", small), ("256 units", large))
}
assert accuracy["256 units"] > accuracy["16 units"]
kd.say(
    ", ".join(f"{name}: **{value:.1f} %**" for name, value in accuracy.items())
    + " on the test pictures."
)

# %% [markdown]
# Same pictures, same temperature. Move through the pictures: whose answer could a network with eight hidden units say too?

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
for picture in (0, 100, 199):
    listener.move(picture=picture)
    assert "256 units: " in listener.description

# %%
spread = {
    name: cache.logits(shown).std(dim=1).mean().item()
    for name, cache in (("16 units", small), ("256 units", large))
}
kd.say(
    "The spread of a teacher's logits, averaged over pictures: "
    + ", ".join(f"{name} **{value:.1f}**" for name, value in spread.items())
    + ". A large network separates the classes by larger and more intricate differences; a "
    "student of eight units has to say them with a "
    "single bend in each of eight directions."
)

# %% [markdown]
# ## See the gap as a curve
#
# **Predict**: draw student accuracy against teacher size, before you run the next cell. Does it rise?
#
# Four sizes of teacher, five seeds each, and under each of them the same student with the same 1,000 pictures and the same budget; then the two teachers that
# the course ships. Stored (`kdcourse results 08` repeats it).

# %%
teachers = kd.study("08-teachers", data).stored()
gap = kd.study("08-capacity-gap", data).stored()
sizes = list(lab.SIZES)
named = [f"{hidden} units" for hidden in sizes]

kd.plots.curves(
    sizes,
    {"teacher": teachers.scores[named].to_numpy(), "student": gap.scores[named].to_numpy()},
    levels={"student": gap.scores["labels only"]},
    xlabel="hidden units of the teacher",
    ylabel="test accuracy, %",
    logarithmic=True,
)

# %%
kd.exercise("08.capacity_gap")


# %% tags=["exercise"] exercise="08.capacity_gap"
def capacity_gap(sizes, accuracies):
    """Sizes (K,) growing, student's accuracy under each (K,) -> (best size, points lost to the largest)."""
    ...  # your code


# %%
capacity_gap = kd.exercise("08.capacity_gap").check(capacity_gap)

# %%
best, lost = capacity_gap(
    torch.tensor(sizes), torch.tensor(gap.scores[named].mean().to_numpy())
)
best_name, largest_name = f"{int(best)} units", named[-1]
cost = gap.difference(largest_name, best_name)
better = kd.difference(teachers.scores[largest_name] - teachers.scores[best_name])
assert better.low > 0 and cost.high < 0, (better, cost)
kd.say(
    f"The largest teacher is {better} better than the one with {int(best)} units, and its "
    f"student is {cost} **worse**: "
    f"{float(lost):.1f} points lost. A better teacher can teach worse."
)

# %%
gap.table()

# %% [markdown]
# ## Bridge it
#
# An assistant stands between. The large teacher teaches it on all pictures, without labels, where the large teacher was made; then it
# is the assistant who teaches the student.

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
# In the package a chain is a list of recipes, each taught by the one before; any length. Here the bridge over one assistant, once, with
# the teacher of 256 units from above.

# %%
alone = lab.student_recipe(data)
listening = replace(alone, method=kd.SoftTarget(lab.TEMPERATURE), teacher=large)
assistant = replace(
    listening,
    student=lab.of_size(data, 16),
    train=data.train.unlabelled(),
    learning_rate=3e-3,
)
bridge = kd.schemes.Chain([assistant, listening])
first, last = bridge.train(seed=0)
kd.say(
    f"Assistant {kd.measure.accuracy(first, data.test):.1f} %, its student "
    f"{kd.measure.accuracy(last, data.test):.1f} %; "
    "taught by the large teacher directly "
    f"{kd.measure.accuracy(listening.run(0), data.test):.1f} %."
)

# %% [markdown]
# ## Measure the bridges
#
# From the largest teacher: directly, through one assistant of each size, through three in a row; and a teacher that was *stopped early*,
# after 100 steps instead of 1,500, which costs less than any assistant. Five seeds, each with a teacher of its own.

# %%
bridges = kd.study("08-assistants", data)
stored = bridges.stored()
stored.table()

# %%
stored.figure()

# %% [markdown]
# Here and now, a part of it again: the student alone and under the two teachers above, three seeds.

# %%
study = kd.study("08-capacity-gap", data)
again = study.run("labels only", "16 units", "256 units", seeds=3)
beside = gap.beside(again, within=2.5)  # processors round differently
beside

# %%
through = [arm for arm in stored.scores if arm.startswith("through")]
helping = [arm for arm in through if stored.difference(arm).verdict == "helps"]
best_bridge = stored.scores[through].mean().idxmax()
early = stored.difference("stopped early")

kd.claim("An assistant bridges the gap", stored.difference(best_bridge))
kd.say(
    f"Against direct teaching, {len(helping)} of {len(through)} chains help; the best is "
    f"*{best_bridge}* with "
    f"{stored.difference(best_bridge)}. The teacher that was stopped early brings {early}: "
    f"**{early.verdict}**, at a fifteenth of the "
    "teacher's training. Against labels only, direct teaching brings "
    f"{gap.difference(largest_name)} and the best bridge "
    f"{stored.difference(best_bridge, 'labels only')}."
)

# %%
kd.say(
    f"The plainest remedy is another teacher: that with 16 units, taught by labels, brings {gap.difference('16 units')} over labels "
    "only. A bridge is for those who were given the large teacher and nothing else."
)

# %% [markdown]
# ### Beside the published figures
#
# | none | KD | through an assistant | setting |
# |---|---|---|---|
# | 61.37 | 61.41 | 61.82 | ResNet-110 → ResNet-8 on CIFAR-100, Mirzadeh et al. 2020 |
#
# There the large teacher alone brings next to nothing, and the bridge a little.
#
# ## When it does not help: a longer chain
#
# If one assistant helps, do three help more? Every stage costs as much training as the student, and every stage loses a little of what it
# was told.

# %%
singles = [arm for arm in through if "," not in arm]
best_single = stored.scores[singles].mean().idxmax()
longer = stored.difference("through 256, 64, 16", best_single)
assert longer.verdict != "helps", longer
kd.say(
    f"Three assistants in a row against one (*{best_single}*): {longer}, **{longer.verdict}**, "
    "for twice the training in all. What counts is the last "
    "step: who speaks to the student."
)

# %% [markdown]
# ## Recap
#
# - Student accuracy against teacher size can fall while the teachers get better: the capacity gap.
# - An assistant between the two bridges part of it. A teacher that was stopped early can do so too, and costs nothing: try it.
# - Choose a teacher by what its student learns, on validation data, not by its own accuracy.
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
# - Lower the temperature to 1 for the large teacher: does the gap shrink? (Lab 02 says why it might.)
# - Let the student see all pictures without labels, not 1,000. What is left of the gap?
#
# **At full size** (a GPU): all labelled pictures for the student too, as in Mirzadeh et al. (2020), and the course's convolutional network as
# the largest teacher.

# %%
chosen = ("labels only", "16 units", "256 units", "shipped convnet")
full = kd.at_full_size(
    {name: study.recipes[name] for name in chosen},
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
# - Huang et al. (2022), *Knowledge Distillation from A Stronger Teacher*: a loss that asks less (`kd.Correlation`).
