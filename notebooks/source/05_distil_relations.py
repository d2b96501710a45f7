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
# # Distil relations
#
# A feature belongs to one picture and one network. A *relation*, that this boot is closer to that sneaker than to that bag, belongs to
# the pictures, and any network can be asked for it. Most relation losses need no regressor and no common width: they compare tables of
# N×N numbers.
#
# **You will** look at the geometry of a batch, write five relation losses, and judge students by accuracy and by retrieval.
# **You will learn** what distances and angles carry, and why a gain in retrieval must be held against the pixels themselves.
# **You need** lab 04. **Time:** 70 minutes of yours; the machine needs about a minute and a quarter in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from collections import OrderedDict
from dataclasses import replace

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

data = kd.load_images()
teacher = kd.zoo.teacher("convnet", data)

# %% [markdown]
# ## The setting: classes that the student never meets
#
# The student trains on 1,000 labelled pictures of six classes. The other four, which look much alike, it never sees: neither picture
# nor label. Then we ask for something that needs no name: *find another picture like this one*. Recall@1 says how often the
# nearest neighbour, among all test pictures of the four new classes, is of the same class. (The teacher has learnt all ten. It
# hands its sense of likeness on through pictures of the six.)
#
# (The first four classes that we held out, shirt, sneaker, bag and boot, are so unlike that validation recall left a method hardly any
# room. We changed them to four that look alike before any test score was computed.)

# %%
relations = kd.study("05-relations", data)
seen, unseen = kd.studies.lab_05.SEEN, kd.studies.lab_05.UNSEEN
kd.say(
    f"Seen: {', '.join(kd.verbatim(data.classes[label]) for label in seen)}. "
    f"Never seen: {', '.join(kd.verbatim(data.classes[label]) for label in unseen)}."
)

# %% [markdown]
# Two students to look at: one before training, one after 600 steps on labels only; and one that also matches the teacher's angles.

# %%
recipes = relations.recipes
before = recipes["labels only"].student(seed=0)
after = recipes["labels only"].run(seed=0)
angled = recipes["RKD angle"].run(seed=0)
networks = {
    "teacher": teacher,
    "student, untrained": before,
    "student, labels only": after,
    "student, RKD angle": angled,
}

# %%
new = data.test.only(*unseen)
embeddings = {
    name: kd.measure.outputs(model, new, ["flatten"])["flatten"]
    for name, model in networks.items()
}
{name: tuple(table.shape) for name, table in embeddings.items()}

# %% [markdown]
# ## Look at the geometry of a batch
#
# Forty pictures of the new classes, all distances between them. Dark blocks on the diagonal mean that a class keeps together.
#
# **Predict**: none of the students has ever seen these classes. Which of them keeps them furthest apart? We ask how far pictures of two
# classes lie from each other on average, over the same for pictures of one class.

# %%
apart = kd.predict(
    "05.apart",
    "Which student keeps the classes that it never saw furthest apart?",
    options=[name for name in networks if name != "teacher"],
)
apart

# %%
forty = torch.cat([(new.labels == label).nonzero()[:10, 0] for label in unseen])
tables = {name: kd.losses.distances(table[forty]) for name, table in embeddings.items()}
alike = new.labels[forty, None] == new.labels[forty]
alike_pairs = alike & ~torch.eye(len(forty), dtype=torch.bool, device=alike.device)
ratios = {
    name: (tables[name][~alike].mean() / tables[name][alike_pairs].mean()).item()
    for name in apart.options
}
apart.answer(
    max(ratios, key=ratios.get), on=kd.plots.relations(tables, new.labels[forty], data.classes)
)

# %% [markdown]
# Three pictures span a triangle, in any space; RKD compares the lengths of its sides, over the batch's mean distance, and its
# angles. Choose A, B and C with the sliders or by hand in a plane, and a student beside the teacher.
#
# A plane shows only the two main components of a network's many dimensions, so it is a map. The table and the triangles
# below it are measured in the full space, and so are RKD's losses of this triplet.

# %%
triangle = kd.widgets.batch_geometry(
    data.pictures(new.images[forty]),
    {name: table[forty] for name, table in embeddings.items()},
    new.labels[forty],
    data.classes,
)
triangle

# %% tags=["widget-test"]
with triangle.restored():
    for a, b, c, student in ((0, 0, 0, 0), (20, 21, 22, 1), (39, 39, 39, 2)):
        triangle.move(a=a, b=b, c=c, student=student)
        assert f"; {list(embeddings)[1 + student]}: AB " in triangle.description
        assert ("no angle" in triangle.description) == (a == b)

# %% [markdown]
# ## Write the relations by hand
#
# Distances first. Networks measure in units of their own, so RKD divides each table by its mean.

# %%
kd.exercise("05.relative_distances")


# %% tags=["exercise"] exercise="05.relative_distances"
def relative_distances(embeddings):
    """(N, D) -> (N, N), over the mean of its positive entries."""
    ...  # your code


# %%
relative_distances = kd.exercise("05.relative_distances").check(relative_distances)

# %%
kd.exercise("05.rkd_distance")


# %% tags=["exercise"] exercise="05.rkd_distance"
def rkd_distance(student, teacher):
    """Embeddings (N, Ds), (N, Dt) -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
rkd_distance = kd.exercise("05.rkd_distance").check(rkd_distance)

# %% [markdown]
# Now angles, and a trap. An angle divides two ways by their lengths, and the way from a picture to itself has none: zero over zero,
# in every batch.

# %%
kd.exercise("05.angles")


# %% tags=["exercise"] exercise="05.angles"
def angles(embeddings):
    """(N, D) -> (N, N, N): [j, i, k] is the cosine of the angle at j between i and k."""
    ...  # your code


# %%
angles = kd.exercise("05.angles").check(angles)

# %% [markdown]
# `F.normalize` would divide by 10⁻¹² there. The values are right. And the gradient? Where the teacher's way has no length either (a picture
# and itself, or its copy), both cosines are 0, and the loss pulls at nothing. It is another matter where the *student* has
# collapsed two pictures that the teacher tells apart.
#
# **Predict**: with `F.normalize`, which of three batches has by far the largest gradient?

# %%
largest = kd.predict(
    "05.largest-gradient",
    "With F.normalize, in which batch is the gradient by far the largest?",
    options=["all pictures differ", "one picture twice", "the student collapses two"],
)
largest


# %%
def with_normalize(embeddings):
    unit = F.normalize(embeddings[None] - embeddings[:, None], dim=2)
    return unit @ unit.transpose(1, 2)


def largest_gradient(angles, student, teacher):
    student = student.clone().requires_grad_()
    F.smooth_l1_loss(angles(student), kd.losses.angles(teacher)).backward()
    return f"{student.grad.abs().max():.2g}"


draws = torch.Generator().manual_seed(0)
student, theirs = torch.randn(8, 5, generator=draws), torch.randn(8, 6, generator=draws)
first_again = torch.tensor([0, 1, 0, 3, 4, 5, 6, 7])
batches = {
    "all pictures differ": (student, theirs),
    "one picture twice": (student[first_again], theirs[first_again]),
    "the student collapses two": (student[first_again], theirs),
}
gradients = {
    name: {
        "F.normalize": largest_gradient(with_normalize, *pair),
        "yours": largest_gradient(angles, *pair),
    }
    for name, pair in batches.items()
}
pd.DataFrame(gradients).T.rename_axis("largest gradient")

# %%
largest.answer(max(gradients, key=lambda name: float(gradients[name]["F.normalize"])))

# %%
assert float(gradients["the student collapses two"]["F.normalize"]) > 1e6
assert all(float(row["yours"]) < 1 for row in gradients.values())
assert float(gradients["one picture twice"]["F.normalize"]) < 1
kd.say(
    "A picture that is in the batch twice does no harm: "
    f"{gradients['one picture twice']['F.normalize']}. A collapse that the teacher does not share gives "
    f"**{gradients['the student collapses two']['F.normalize']}**, and one such step ends the training. (A ReLU whose "
    "outputs are all zero for two pictures is enough.) Yours leaves that way out."
)

# %% [markdown]
# And similarities, as SP compares them.

# %%
kd.exercise("05.similarity_preserving")


# %% tags=["exercise"] exercise="05.similarity_preserving"
def similarity_preserving(student, teacher):
    """Embeddings (N, Ds), (N, Dt) -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
similarity_preserving = kd.exercise("05.similarity_preserving").check(similarity_preserving)

# %% [markdown]
# The last one asks across the two networks. Each student embedding looks for the teacher's embedding of *its own* picture, among those of
# the whole batch. This is InfoNCE, the loss behind contrastive distillation. Both need one width; a linear layer sees to that.

# %%
kd.exercise("05.info_nce")


# %% tags=["exercise"] exercise="05.info_nce"
def info_nce(student, teacher, temperature):
    """Embeddings (N, D), (N, D) -> scalar in nats; no gradient may reach the teacher."""
    ...  # your code


# %%
info_nce = kd.exercise("05.info_nce").check(info_nce)

# %% [markdown]
# Yours and the package's agree:

# %%
ours, theirs = embeddings["student, labels only"][:20], embeddings["teacher"][:20]
torch.testing.assert_close(rkd_distance(ours, theirs), kd.losses.rkd_distance(ours, theirs))
torch.testing.assert_close(angles(ours), kd.losses.angles(ours), rtol=1e-3, atol=1e-3)
torch.testing.assert_close(
    similarity_preserving(ours, theirs), kd.losses.similarity_preserving(ours, theirs)
)

# %% [markdown]
# How well do two students, taught differently, know a picture again? Here the one with angles stands for the teacher.

# %%
other = embeddings["student, RKD angle"][:20]
nats = info_nce(ours, other, 0.1)
torch.testing.assert_close(nats, kd.losses.contrastive(ours, other, temperature=0.1))
chance = torch.tensor(float(len(ours))).log()
kd.say(
    f"Among {len(ours)} pictures InfoNCE is **{nats:.2f} nats**. Without any idea of which is which it would be log {len(ours)}, {chance:.2f}."
)

# %% [markdown]
# ## Write the measure by hand

# %%
kd.exercise("05.recall_at_1")


# %% tags=["exercise"] exercise="05.recall_at_1"
def recall_at_1(embeddings, labels):
    """Embeddings (N, D), labels (N,) -> percent."""
    ...  # your code


# %%
recall_at_1 = kd.exercise("05.recall_at_1").check(recall_at_1)

# %%
found = {name: float(recall_at_1(table, new.labels)) for name, table in embeddings.items()}
kd.say(
    "Recall@1 on classes never seen: "
    + ", ".join(f"{name} **{r:.1f} %**" for name, r in found.items())
    + "."
)

# %% [markdown]
# What does that look like? Six queries, and what each network finds nearest.

# %%
queries = forty[3::7][:6]


def nearest(table):
    unit = F.normalize(table, dim=1)
    cosines = unit[queries] @ unit.T
    cosines[torch.arange(len(queries)), queries] = -1
    return cosines.argmax(dim=1)


hits = {name: nearest(table) for name, table in embeddings.items()}
kd.plots.neighbours(
    data.pictures(new.images[queries]),
    {name: data.pictures(new.images[hit]) for name, hit in hits.items()},
    [data.classes[label] for label in new.labels[queries]],
    {name: [data.classes[label] for label in new.labels[hit]] for name, hit in hits.items()},
)

# %% [markdown]
# ## Measure, twice
#
# Seven relation methods, each together with the labels, beside labels alone and plain KD. Five paired seeds, one budget; weights chosen
# on validation data with other seeds. Stored, because it outgrows the lab's minute (`kdcourse results 05` repeats it).
#
# | method | what it compares | source |
# |---|---|---|
# | RKD distance, RKD angle | pairs, triplets | Park et al. 2019 |
# | similarity-preserving | rows of Gram matrices | Tung, Mori 2019 |
# | probabilistic transfer | each picture's distribution over neighbours | Passalis, Tefas 2018 |
# | correlation congruence | a Gaussian kernel | Peng et al. 2019 |
# | flow | Gram matrices between two layers | Yim et al. 2017 |
# | contrastive | your own picture among the others | Tian et al. 2020 |
#
# Five of the seven compare N×N tables alone. Contrastive learns a linear layer from the student's width to the teacher's, and flow a
# regressor at each layer; flow needs maps of both networks, too.
#
# What differs besides the loss? The labels, the steps and the student are the same. But every arm except *labels only* also asks a
# teacher, which has learnt from the labels of all ten classes, the four new ones among them.
#
# **The cheapest rivals** learn from no label and no teacher: the pixels as they are; the pictures' main components (PCA, a linear
# layer of the student's width, from the same 1,000 pictures); and the student with its first, random weights.
#
# **Predict**: do the trained students find their like more often than the raw pixels do, on classes that they have never seen?

# %%
beaten = kd.predict(
    "05.raw-pixels",
    "The trained student that is best by validation recall, against the raw pixels: what does it do?",
    options=["it beats them", "it stays below them", "no clear difference"],
)
beaten


# %%
def principal_components(features, width):
    """The `width` directions in which (N, D) features differ most, as one linear layer."""
    centre = features.mean(dim=0)
    layer = nn.Linear(features.shape[1], width, device=features.device)
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.svd(features - centre, full_matrices=False).Vh[:width])
        layer.bias.copy_(-layer.weight @ centre)
    return layer


def as_embedding(*layers):
    """A network whose layer "flatten", as the student's embedding is called, is this and nothing more."""
    embedding = nn.Sequential(nn.Flatten(), *layers)
    return nn.Sequential(OrderedDict(flatten=embedding, answer=nn.Identity())).eval()


seeds, width = list(relations.seeds), embeddings["student, untrained"].shape[1]
labels_only = recipes["labels only"]
untrained = [labels_only.student(seed=seed).eval() for seed in seeds]
pixels = [labels_only.train(seed).images.flatten(1) for seed in seeds]
rivals = {
    "raw pixels": [as_embedding() for _ in seeds],
    "PCA": [as_embedding(principal_components(one, width)) for one in pixels],
    "untrained": untrained,
}
recall_of = relations.metrics["-recall"]
unlearnt = kd.experiment.Comparison.evaluate(rivals, data, recall_of, seeds, "raw pixels")

# %% [markdown]
# A part of the study again, here and now. Where no results are stored for your data, this part is all there is.

# %%
kept = data.name in kd.studies.family_of(relations.name).sets
again = relations.run("labels only", "contrastive", seeds=2 if kept else 5)
recall_again = again.evaluated_by(recall_of, data)
accuracy, recall = (
    (relations.stored(), relations.stored("-recall")) if kept else (again, recall_again)
)
kd.say(
    "Stored for these data."
    if kept
    else f"Nothing is stored for {kd.verbatim(data.name)}: two arms, run now."
)

# %% [markdown]
# First by what relations are for: recall@1 on the four classes that no student has seen. Every arm is held against the raw pixels.

# %%
beside_pixels = replace(
    unlearnt,
    scores=unlearnt.scores.join(recall.scores),
    validation=unlearnt.validation.join(recall.validation),
)
beside_pixels.table()

# %%
winner = recall.best()
to_pixels, to_pca = (
    beside_pixels.difference(winner, rival) for rival in ("raw pixels", "PCA")
)
found = {"helps": "it beats them", "hurts": "it stays below them"}
beaten.answer(
    found.get(to_pixels.verdict, "no clear difference"),
    on=beside_pixels.figure(ylabel="recall@1 on new classes, %"),
)

# %% [markdown]
# The same arms against labels alone:

# %%
recall.table()

# %% [markdown]
# Then by accuracy on the six classes that were learnt.

# %%
accuracy.table()

# %%
methods = [arm for arm in recall.scores if arm not in ("labels only", "KD")]
better = [arm for arm in methods if recall.difference(arm).verdict == "helps"]
in_words = {"helps": "beats", "hurts": "stays below", "no clear difference": "is not clear of"}
kd.say(
    f"Over labels alone {len(better)} of {len(methods)} relation methods improve recall"
    + (f" ({', '.join(better)})" if better else "")
    + f". The best arm by validation recall is *{winner}*. It {in_words[to_pixels.verdict]} the raw pixels: "
    f"**{to_pixels}**; and {in_words[to_pca.verdict]} PCA with as many numbers: {to_pca}."
)
if kept:
    kd.claim(
        "Angles improve retrieval of new classes over labels alone",
        recall.difference("RKD angle"),
    )
    for stored, now, most in ((accuracy, again, 2), (recall, recall_again, 3)):
        beside = stored.beside(now)  # processors round differently
        assert (beside["stored"] - beside["now"]).abs().max() < most

# %% [markdown]
# ## When it does not help: the pixels win
#
# We believed: training on six classes throws away what tells the other four apart. The untrained network is the control.

# %%
learnt_away = beside_pixels.difference("labels only", "untrained")
first_weights = beside_pixels.difference("untrained", "raw pixels")
story = {
    "hurts": "So we were right: labels of six classes do take away from the other four.",
    "helps": "So we were wrong: labels of six classes bring something for the other four, too.",
    "no clear difference": "So we were wrong: labels of six classes take nothing away, and bring nothing.",
}
kd.say(
    f"Labels only against first weights: {learnt_away}. {story[learnt_away.verdict]} The first weights themselves "
    f"stand at {first_weights} against the pixels."
)

# %% [markdown]
# So most is lost in the network's build, before it learns anything. Where? Each stage halves the maps, and the last one leaves a single
# position: the embedding says what there is, and not where. These pictures are centred, and in centred pictures the place says
# much. Test it at the untrained network's third stage, where positions are left: the means of its maps over all positions, against as many
# main components of the maps with their positions.

# %%
third = "stage3"


def maps_of(model, split):
    return kd.measure.outputs(model, split, [third])[third]


where, what = [], []
for seed, model in zip(seeds, untrained, strict=True):
    maps, channels = maps_of(model, new).flatten(1), maps_of(model, new).mean(dim=(2, 3))
    seen_maps = maps_of(model, labels_only.train(seed)).flatten(1)
    components = principal_components(seen_maps, channels.shape[1])(maps).detach()
    where.append(kd.measure.recall_at_1(components, new.labels))
    what.append(kd.measure.recall_at_1(channels, new.labels))
place = kd.difference([a - b for a, b in zip(where, what, strict=True)])
kd.say(
    f"{channels.shape[1]} numbers with positions find their like in **{kd.difference(where).mean:.1f} %**, "
    f"{channels.shape[1]} without in {kd.difference(what).mean:.1f} %: {place} ({place.verdict})."
)

# %% [markdown]
# ### Beside the published figures
#
# | | labels only | with relations | setting |
# |---|---|---|---|
# | RKD, accuracy | 71.26 | 72.97 (KD + RKD-DA 74.66) | VGG11 on CIFAR-100, Park et al. 2019 |
# | RKD in the large comparison, accuracy | 72.50 | 71.90 | resnet32x4 → 8x4 on CIFAR-100, Tian et al. 2020 |
# | CRD, accuracy | 72.50 | 75.51 | the same |
#
# Theirs are colour pictures of 100 classes, 50,000 labels and students of half a million parameters or more. Two papers do not agree
# on the sign of RKD for accuracy. On what the loss is made for, distances between pictures, it is judged by retrieval.
#
# ## When it does not help either: relations alone
#
# A relation says nothing of names. Leave the labels out and ask the student for classes.
#
# **Predict** its accuracy on the six classes.

# %%
nameless_accuracy = kd.predict(
    "05.nameless",
    "Relations alone, without a label: how many test pictures of the six classes does the student get right?",
    between=(0, 100),
    unit="%",
)
nameless_accuracy

# %%
nameless = replace(
    recipes["RKD angle"], method=recipes["RKD angle"].method.methods[1] * 50
).run(seed=0)
learnt = kd.measure.accuracy(nameless, data.test.only(*seen))
retrieved = relations.metrics["-recall"](nameless, data.test)
assert learnt < 50
nameless_accuracy.answer(learnt)
kd.say(
    f"Accuracy **{learnt:.1f} %**, not even what guessing among the ten names would bring; recall@1 "
    f"**{retrieved:.1f} %**. The geometry is there, the names "
    "are not: relations go with labels, or with a classifier trained on top."
)

# %% [markdown]
# ## Recap
#
# - Most relation losses compare tables of N×N numbers, of any two architectures. Contrastive and flow learn layers between the two.
# - Each table is divided by a unit of its own (a mean, a row's length), or the networks' scales are compared.
# - Guard directions of length zero, in value and in gradient: a student may collapse what its teacher tells apart.
# - They are judged by what they are for. A gain in retrieval need not be one in accuracy.
# - A gain over labels alone is not yet a use. Hold it against the pixels, their main components and the first weights.
#
# ### Check yourself

# %%
quiz = kd.quiz("05")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Add angles to distances, 25 to 50 as in the paper: `HardTarget() + RelationalDistance(...) * 25 + RelationalAngle(...) * 50`.
# - Swap the seen and the unseen classes. Is the gain the same?
# - Shift each test picture by up to four pixels. Who falls more, the pixels or the students?
# - Cluster the new classes' embeddings (k-means, k = 4) and compare the clusters with the labels.
#
# **At full size** (a GPU): all pictures of the six classes, by recall on the other four. Park et al. (2019) learn a metric on Cars-196,
# half of its classes unseen; the same call on a folder of your own repeats the idea.

# %%
chosen = ("labels only", "KD", "RKD distance", "RKD angle")
full = kd.at_full_size(
    {name: recipes[name] for name in chosen},
    data,
    seeds=3,
    train=data.train.only(*seen),
    steps=1200,
    batch_size=128,
    metric=relations.metrics["-recall"],
)

# %% [markdown]
# ### Read further
#
# - Park, Kim, Lu, Cho (2019), *Relational Knowledge Distillation*. Tung, Mori (2019), *Similarity-Preserving Knowledge Distillation*.
# - Passalis, Tefas (2018), *Learning Deep Representations with Probabilistic Knowledge Transfer*. Peng et al. (2019), *Correlation
#   Congruence*. Yim et al. (2017), *A Gift from Knowledge Distillation*. Tian, Krishnan, Isola (2020), *Contrastive Representation Distillation*.
