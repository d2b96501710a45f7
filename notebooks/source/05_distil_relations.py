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
# Lab 04 matched features: what one layer gives for one picture, compared number by number, as in the FitNets hint. The two networks had
# different widths, so a regressor, a small learnt layer, had to stand between them. A *relation* is something between pictures instead:
# this boot is closer to that sneaker than to that bag. Every network can be asked for it, whatever its width: N pictures give a table of
# N×N numbers. So most relation losses need no regressor.
#
# **You will** look at the geometry of a batch, write relation losses by hand, and judge students by accuracy and by retrieval.
# **You will learn** what distances and angles carry, and why a gain in retrieval must be held against the pixels themselves.
# **You need** lab 04. **Time:** 75 minutes of yours; the machine needs about a minute and a quarter in all.

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
# The student trains on 1,000 labelled pictures of six classes. The other four classes look much alike, and the student never sees
# them: neither a picture nor a label. Afterwards we ask for something that needs no class name: *find another picture like this
# one*. The measure is **recall@1**: take each test picture of the four new classes, find its nearest neighbour among all the
# others, and count how often that neighbour is of the same class.
#
# The *teacher*, a larger network that is trained already, has learnt all ten classes. Through pictures of the six it can hand on its
# sense of what is alike.
#
# (The first four classes that we held out, shirt, sneaker, bag and boot, are so unlike each other that validation recall, the measure
# by which we choose, left hardly any room for a method to be better. We changed them to four that look alike before any test score
# was computed.)

# %%
relations = kd.study("05-relations", data)
seen, unseen = kd.studies.lab_05.SEEN, kd.studies.lab_05.UNSEEN

# %%
kd.say(
    f"Seen: {', '.join(kd.verbatim(data.classes[label]) for label in seen)}. "
    f"Never seen: {', '.join(kd.verbatim(data.classes[label]) for label in unseen)}."
)

# %% [markdown]
# We need students to look at: one with its first, random weights; one after 600 steps of training on labels only; and one that has also
# matched the teacher's angles, by a loss that you will write below. Each comes from a *recipe*, all that is needed to train one network.
# The *seed* is the number that fixes what is random in a run, the first weights among it.

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

# %% [markdown]
# The *embedding* of a picture is what the layer named "flatten", the last before the classifier, gives for it: $D$ numbers. For $N$
# pictures they are a table $X$ of shape $(N, D)$, and $x_i$, its row $i$, belongs to picture $i$. $D$ is 256 in the teacher and 32 in
# the students. In what follows $x^s$ is the student's embedding and $x^t$ the teacher's.

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
# The figure below shows forty pictures of the new classes, ten of each, and all distances between them: one table for each network, dark
# for near and bright for far, in units of the table's own mean. Look for dark blocks along the diagonal: there a class keeps together.
#
# **Predict**: none of the students has ever seen these classes. Which of them keeps them furthest apart? We divide the average distance
# between pictures of two classes by the average distance between pictures of one class.

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
# Three pictures A, B and C span a triangle, in a space of any dimension. Its three sides are distances, and it has three angles. Here is one
# triplet, in the teacher and in two students: A and B are of one class, C is of another. The numbers at the sides are distances, in units
# of the mean distance. If the students saw the pictures as the teacher does, the three triangles would have one shape. *RKD*, relational
# knowledge distillation, makes two losses of this: one of the sides, and one of the angles.

# %%
triplet = torch.tensor([0, 1, 39])
shown = ("teacher", "student, untrained", "student, RKD angle")
kd.plots.triangles(
    {name: tables[name][triplet[[0, 0, 1]], triplet[[1, 2, 2]]] for name in shown}
)

# %% [markdown]
# Now choose A, B and C yourself, with the controls or by a click in a plane, and a student beside the teacher. A plane shows only the two
# main components of a network's many dimensions, so it is a map: lengths on it are only roughly right. The table and the triangles below it
# are measured in the full space, and so are RKD's losses of this triplet.

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
# ## Seven methods, each with its formula
#
# Each method makes a table for each of the two networks and compares them. You write three of the losses here, and the angles of a fourth.
# The headings are the names that the methods have in the study below.
#
# ### RKD distance
#
# *Which pictures are far apart, and which are near?* Each network measures in a unit of its own: multiply all its embeddings by ten, and
# nothing about the pictures has changed. So each table of distances is divided by its own mean:
#
# $$d_{ij} = \frac{\lVert x_i - x_j \rVert}{\mu}$$
#
# $$\mu = \text{the mean of all } \lVert x_i - x_j \rVert \text{ that are above } 0$$
#
# where $\lVert x_i - x_j \rVert$ is the Euclidean distance of pictures $i$ and $j$, and $d$ has shape $(N, N)$ and no unit.

# %%
kd.exercise("05.relative_distances")


# %% tags=["exercise"] exercise="05.relative_distances"
def relative_distances(embeddings):
    """(N, D) -> (N, N), over the mean of its positive entries."""
    ...  # your code


# %%
relative_distances = kd.exercise("05.relative_distances").check(relative_distances)

# %% [markdown]
# The loss compares the student's table $d^s$ with the teacher's $d^t$, entry by entry (Park et al. 2019):
#
# $$L_{\text{distance}} = \frac{1}{N^2} \sum_{i,j} \ell\left(d^s_{ij} - d^t_{ij}\right)$$
#
# $$\ell(u) = \begin{cases} u^2 / 2 & \text{if } |u| < 1 \\ |u| - 1/2 & \text{otherwise} \end{cases}$$
#
# $\ell$ is the *Huber* or smooth-L1 loss of one gap $u$: a square for small gaps, and a straight line for large ones, so that a single
# far-off pair does not outweigh all others. $L$ is one number. The teacher's table is a constant: no gradient goes into it.

# %%
kd.exercise("05.rkd_distance")


# %% tags=["exercise"] exercise="05.rkd_distance"
def rkd_distance(student, teacher):
    """Embeddings (N, Ds), (N, Dt) -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
rkd_distance = kd.exercise("05.rkd_distance").check(rkd_distance)

# %% [markdown]
# ### RKD angle
#
# *What shape has each triangle?* At its corner $j$, two sides lead to the pictures $i$ and $k$. With $e_{ji}$ for the direction from $j$ to
# $i$, a vector of length 1, the cosine of the angle between the two sides is an inner product, and the loss compares all of them:
#
# $$a_{jik} = \langle e_{ji}, e_{jk} \rangle, \quad e_{ji} = \frac{x_i - x_j}{\lVert x_i - x_j \rVert}$$
#
# $$L_{\text{angle}} = \frac{1}{N^3} \sum_{j,i,k} \ell\left(a^s_{jik} - a^t_{jik}\right)$$
#
# $a$ has shape $(N, N, N)$ and lies between −1 and 1; $\ell$ is the Huber loss from above. An angle needs no unit, so there is no mean.
#
# There is a trap. The way (the vector) from a picture to itself, $x_j - x_j$, has length zero and so no direction. The division
# is zero over zero, which is NaN, and every batch has such pairs. There we set $e_{jj} = 0$.

# %%
kd.exercise("05.angles")


# %% tags=["exercise"] exercise="05.angles"
def angles(embeddings):
    """(N, D) -> (N, N, N): [j, i, k] is the cosine of the angle at j between i and k."""
    ...  # your code


# %%
angles = kd.exercise("05.angles").check(angles)

# %% [markdown]
# The first idea is `F.normalize`. It divides by the length or by 10⁻¹², whichever is larger, so the values are right: a way of
# length zero stays zero. In the gradient, however, dividing by 10⁻¹² multiplies by 10¹².
#
# Two cases differ. Where the teacher's way has no length either (a picture and itself, or its copy), both cosines are 0. The gap is 0, and
# the loss has no gradient there. But a *student* may give two pictures one embedding that the teacher tells apart: it has collapsed them.
#
# **Predict**: with `F.normalize`, which of three batches has by far the largest gradient?

# %%
largest = kd.predict(
    "05.largest-gradient",
    "With F.normalize, in which batch is the gradient by far the largest?",
    options=["all pictures differ", "one picture twice", "the student collapses two"],
)
largest


# %% [markdown]
# The table has the largest entry of the loss's gradient at the student's embeddings, for `F.normalize` and for your function: in a batch of
# eight random embeddings; in one where the third picture is the first again, for both networks; and where that is so for the student alone.


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
    "outputs are all zero for two pictures is enough.) Your function leaves that way out."
)

# %% [markdown]
# ### Similarity
#
# *Which pictures activate a layer alike?* Similarity-preserving distillation (SP; Tung, Mori 2019) takes inner products in place of
# distances: $G_{ij} = \langle x_i, x_j \rangle$. Together they are the *Gram matrix* $G$, of shape $(N, N)$. Each of its rows is divided by
# its own length, and the loss is the mean squared gap:
#
# $$\hat G_{ij} = \frac{G_{ij}}{\sqrt{\sum_k G_{ik}^2}}$$
#
# $$L_{\text{SP}} = \frac{1}{N^2} \sum_{i,j} \left(\hat G^s_{ij} - \hat G^t_{ij}\right)^2$$

# %%
kd.exercise("05.similarity_preserving")


# %% tags=["exercise"] exercise="05.similarity_preserving"
def similarity_preserving(student, teacher):
    """Embeddings (N, Ds), (N, Dt) -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
similarity_preserving = kd.exercise("05.similarity_preserving").check(similarity_preserving)

# %% [markdown]
# ### Probabilistic
#
# *Which neighbours would a picture choose?* Probabilistic knowledge transfer (PKT; Passalis, Tefas 2018) turns each row of cosines into a
# distribution over the $N$ pictures of the batch. It compares the distributions as lab 02 did, by a divergence:
#
# $$c_{ij} = \frac{\langle x_i, x_j \rangle}{\lVert x_i \rVert \, \lVert x_j \rVert}$$
#
# $$p_{ij} = \frac{(c_{ij} + 1) / 2}{\sum_k (c_{ik} + 1) / 2}$$
#
# $$L_{\text{PKT}} = \frac{1}{N^2} \sum_{i,j} p^t_{ij} \log \frac{p^t_{ij} + \varepsilon}{p^s_{ij} + \varepsilon}$$
#
# $c_{ij}$ is the cosine of the embeddings of pictures $i$ and $j$; $c$ and $p$ have shape $(N, N)$, and each row of $p$ adds to 1.
# $\varepsilon = 10^{-7}$ keeps the logarithm finite.
#
# ### Congruence
#
# *How strongly are pictures correlated, if only near ones count?* Correlation congruence (CC; Peng et al. 2019) takes a Gaussian kernel of the
# embeddings' directions, $\exp(-\gamma \lVert u_i - u_j \rVert^2)$ with $u_i = x_i / \lVert x_i \rVert$. It is near 1 for pictures that
# point the same way. It depends on the cosines $c_{ij}$ alone, and the first three terms of its Taylor series stand for it:
#
# $$k_{ij} = e^{-2\gamma} \sum_{m=0}^{2} \frac{(2\gamma)^m}{m!} \, c_{ij}^{\,m}$$
#
# $$L_{\text{CC}} = \frac{1}{N^2} \sum_{i,j} \left(k^s_{ij} - k^t_{ij}\right)^2$$
#
# $k$ has shape $(N, N)$. $\gamma = 0.4$ says how fast the kernel falls; $m$ counts the terms.
#
# ### Flow
#
# *How does a picture change from one layer to the next?* The flow of solution procedure (FSP; Yim et al. 2017) relates layers, not pictures.
# Take the maps $A$ of an earlier stage, of shape $(N, C_a, P)$, and $B$ of a later one, $(N, C_b, P)$: $C_a$ and $C_b$ channels at $P$
# positions (the larger maps are first averaged down to the smaller). For each picture $n$ there is a Gram matrix between the channels:
#
# $$F_{nab} = \frac{1}{P} \sum_{p=1}^{P} A_{nap} \, B_{nbp}$$
#
# $$L_{\text{flow}} = \frac{1}{N C_a C_b} \sum_{n,a,b} \left(F^s_{nab} - F^t_{nab}\right)^2$$
#
# $F$ has shape $(N, C_a, C_b)$, which must be one for both networks. So a learnt regressor, a 1×1 convolution, first brings the student's maps
# to the teacher's channels, at each of the two stages, here the second and the third.
#
# ### Contrastive
#
# *Can the student find its own picture among the teacher's?* This loss compares across the two networks. Each student embedding
# looks for the teacher's embedding of *its own* picture, among those of the whole batch. It is called InfoNCE, and it is the loss behind
# contrastive distillation (Tian et al. 2020). It is a cross-entropy over $N$ pictures in place of classes:
#
# $$c_{ij} = \frac{\langle x^s_i, x^t_j \rangle}{\lVert x^s_i \rVert \, \lVert x^t_j \rVert}$$
#
# $$L_{\text{NCE}} = -\frac{1}{N} \sum_i \log \frac{\exp(c_{ii} / \tau)}{\sum_j \exp(c_{ij} / \tau)}$$
#
# $c$, of shape $(N, N)$, holds the cosines of student and teacher; the right answer of row $i$ is column $i$. $\tau$ is a temperature
# (0.1 in the study): the smaller, the sharper the choice. The loss is in nats, units of the natural logarithm. Both embeddings must have
# one width $D$: in the study a learnt linear layer brings the student's 32 numbers to the teacher's 256.

# %%
kd.exercise("05.info_nce")


# %% tags=["exercise"] exercise="05.info_nce"
def info_nce(student, teacher, temperature):
    """Embeddings (N, D), (N, D) -> scalar in nats; no gradient may reach the teacher."""
    ...  # your code


# %%
info_nce = kd.exercise("05.info_nce").check(info_nce)

# %% [markdown]
# Your functions and the package's agree. (The cell says nothing if they do.)

# %%
ours, theirs = embeddings["student, labels only"][:20], embeddings["teacher"][:20]
torch.testing.assert_close(rkd_distance(ours, theirs), kd.losses.rkd_distance(ours, theirs))
torch.testing.assert_close(angles(ours), kd.losses.angles(ours), rtol=1e-3, atol=1e-3)
torch.testing.assert_close(
    similarity_preserving(ours, theirs), kd.losses.similarity_preserving(ours, theirs)
)

# %% [markdown]
# How large is InfoNCE between two of our students? Their embeddings both have 32 numbers, so no linear layer is needed. The
# student with labels only looks for its own picture among the embeddings of the student with angles, which stands for the
# teacher. A student without any idea of which picture is which would give each of $N$ the probability $1/N$, and its loss would
# be $\log N$.

# %%
other = embeddings["student, RKD angle"][:20]
nats = info_nce(ours, other, 0.1)
torch.testing.assert_close(nats, kd.losses.contrastive(ours, other, temperature=0.1))
chance = torch.tensor(float(len(ours))).log()

# %%
kd.say(
    f"Among {len(ours)} pictures InfoNCE is **{nats:.2f} nats**. Without any idea of which is which it would be log {len(ours)}, {chance:.2f}."
)

# %% [markdown]
# ## Write the measure by hand
#
# Recall@1, in percent. $y_i$ is the class of picture $i$, of $N$ in all, and $n(i)$ is its nearest other picture, by the cosine $c_{ij}$
# of their embeddings within one network:
#
# $$\text{recall@1} = \frac{100}{N} \sum_i [\, y_{n(i)} = y_i \,]$$
#
# $$n(i) = \mathrm{argmax}_{j \neq i} c_{ij}$$
#
# where $[\cdot]$ is 1 if what stands in it is true, and 0 otherwise. The labels are used to judge, and for nothing else.

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

# %%
kd.say(
    "Recall@1 on classes never seen: "
    + ", ".join(f"{name} **{r:.1f} %**" for name, r in found.items())
    + "."
)

# %% [markdown]
# What does that look like? The top row has six query pictures. Below each stands what each network finds nearest to it, marked ✓ where
# it is of the right class.

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
# Now the study. Each *arm*, as the recipes that are compared are called, trains the student with the loss
#
# $$L = L_{\text{labels}} + w \cdot L_{\text{relation}}$$
#
# where $L_{\text{labels}}$ is the cross-entropy with the labels, and the weight $w$ belongs to the method. The weights were chosen on
# validation data with seeds of their own. Beside the seven stand *labels only* ($w = 0$) and plain *KD* from lab 03, which softens the
# logits: $L = \alpha T^2 \, \mathrm{KL} + (1 - \alpha) L_{\text{labels}}$ with $\alpha = 0.9$, the temperature $T = 4$, and the divergence KL of
# the teacher's softened probabilities and the student's.
#
# | arm | what it compares | $w$ | learns layers beside the student? | source |
# |---|---|---|---|---|
# | RKD distance | pairs | 10 | no | Park et al. 2019 |
# | RKD angle | triplets | 10 | no | Park et al. 2019 |
# | similarity | rows of Gram matrices | 100 | no | Tung, Mori 2019 |
# | probabilistic | each picture's distribution over neighbours | 10,000 | no | Passalis, Tefas 2018 |
# | congruence | a Gaussian kernel | 100 | no | Peng et al. 2019 |
# | flow | Gram matrices between two layers | 1 | a regressor at each stage | Yim et al. 2017 |
# | contrastive | your own picture among the others | 1 | a linear layer | Tian et al. 2020 |
#
# The first five compare N×N tables alone, of the batch's 32 pictures. Flow needs maps of both networks, too.
#
# All arms have the same steps and *paired* seeds: five of them, and with each seed all arms share the first weights and the
# pictures, so that the luck which they share cancels in the difference. The study takes longer than this lab has, so its scores
# are *stored* in a file, the ledger (`kdcourse results 05` repeats it).
#
# What differs besides the loss? The labels, the steps and the student are the same. But every arm except *labels only* also asks a
# teacher, which has learnt from the labels of all ten classes, the four new ones among them.
#
# **The cheapest rivals**, what could do as well at less cost, learn from no label and no teacher. They are the pixels as they are; the
# pictures' main components; and the student with its first, random weights. The main components (PCA) are a linear layer of the
# student's width, from the same 1,000 pictures: $x = V (b - \bar b)$, with the pixels $b$ of a picture, their mean $\bar b$, and the
# 32 directions $V$ in which the pictures differ most, of shape (32, number of pixels).
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
# A part of the study runs again, here and now. It should come close to what is stored. Where no results are stored for your data, this part
# is all there is.

# %%
kept = data.name in kd.studies.family_of(relations.name).sets
again = relations.run("labels only", "contrastive", seeds=2 if kept else 5)
recall_again = again.evaluated_by(recall_of, data)
accuracy, recall = (
    (relations.stored(), relations.stored("-recall")) if kept else (again, recall_again)
)

# %%
kd.say(
    "Stored for these data."
    if kept
    else f"Nothing is stored for {kd.verbatim(data.name)}: two arms, run now."
)

# %% [markdown]
# First we judge by what relations are for: recall@1 on the four classes that no student has seen. In the table every arm is held
# against the raw pixels. *Mean* is over its five seeds, and *±* is half the width of the mean's 95 % interval (0 for the raw
# pixels, which no seed changes). The *difference* is paired, with its 95 % interval in brackets. The *verdict* is "helps" where
# the interval lies above zero, "hurts" where it lies below, and "no clear difference" where it holds zero. Among many comparisons
# a few look clear by luck alone; *Holm* is what is left of the verdict once that is allowed for.

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

# %%
methods = [arm for arm in recall.scores if arm not in ("labels only", "KD")]
kd.say(
    f"The best arm by validation recall is *{winner}*. "
    + (
        f"Its formula stands above, under the heading *{winner[0].upper()}{winner[1:]}*."
        if winner in methods
        else "It compares logits, and no relations: its formula stands above the table of the arms."
    )
)

# %% [markdown]
# The same arms against labels alone. Now the question is what the relation adds to the labels.

# %%
recall.table()

# %% [markdown]
# Then we judge by accuracy on the six classes that were learnt. Here the names of the classes count, and a relation knows no
# names.

# %%
accuracy.table()

# %%
better = [arm for arm in methods if recall.difference(arm).verdict == "helps"]
corrected = [arm for arm in methods if recall.table()["Holm"][arm] == "helps"]
in_words = {"helps": "beats", "hurts": "stays below", "no clear difference": "is not clear of"}
kd.say(
    f"Over labels alone {len(better)} of {len(methods)} relation methods improve recall"
    + (f" ({', '.join(better)})" if better else "")
    + f"; allowing for several comparisons (Holm), {len(corrected)}. The best arm by validation recall, *{winner}*, {in_words[to_pixels.verdict]} the raw pixels: "
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
# Why do the pixels do so well? We believed that training on six classes throws away what tells the other four apart. The *control* for
# that belief, an arm that differs in one thing only, is the student before any training.

# %%
learnt_away = beside_pixels.difference("labels only", "untrained")
first_weights = beside_pixels.difference("untrained", "raw pixels")
story = {
    "hurts": "So we were right: labels of six classes do take away from the other four.",
    "helps": "So we were wrong: labels of six classes bring something for the other four, too.",
    "no clear difference": "So we cannot say that we were right: these seeds do not tell whether labels of six classes take "
    "something away or bring something.",
}
kd.say(
    f"Labels only against first weights: {learnt_away}. {story[learnt_away.verdict]} The first weights themselves "
    f"stand at {first_weights} against the pixels."
)

# %% [markdown]
# So most is lost in the way the network is built, before it learns anything. Where is it lost? Each stage halves the maps, and
# the last one leaves a single position. So the embedding says what there is in the picture, and not where. These pictures are
# centred, and in centred pictures the place says much.
#
# We test this at the untrained network's third stage, where positions are left. Its maps have shape $(N, C, H, W)$. The first
# embedding has no positions: the mean of each channel over all $H \cdot W$ positions, $C$ numbers. The second has them: the first
# $C$ main components of the maps with all their $C \cdot H \cdot W$ numbers. Both have the same width, $C$.

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

# %%
kd.say(
    f"{channels.shape[1]} numbers with positions find their like in **{kd.difference(where).mean:.1f} %**, "
    f"{channels.shape[1]} without in {kd.difference(what).mean:.1f} %: {place} ({place.verdict})."
)

# %% [markdown]
# ### Beside the published figures
#
# Accuracies in percent, as the papers give them. DA is RKD's distance and angle together.
#
# | | labels only | with relations | setting |
# |---|---|---|---|
# | RKD, accuracy | 71.26 | 72.97 (KD + RKD-DA 74.66) | VGG11 on CIFAR-100, Park et al. 2019 |
# | RKD in the large comparison, accuracy | 72.50 | 71.90 | resnet32x4 → 8x4 on CIFAR-100, Tian et al. 2020 |
# | CRD, accuracy | 72.50 | 75.51 | the same |
#
# Theirs are colour pictures of 100 classes, 50,000 labels and students of half a million parameters or more. In one paper RKD
# raises accuracy, in the other it lowers it. RKD is made for distances between pictures, and those are judged by retrieval. (CRD,
# contrastive distillation as published, chooses its wrong pictures from a memory of thousands; ours takes those of the batch.)
#
# ## When it does not help either: relations alone
#
# A relation says nothing of names. What if we leave the labels out, train by the angles alone, and ask the student for classes?
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

# %%
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
# - Each table is divided by a unit of its own (a mean, a row's length). Otherwise the two networks' scales would be compared.
# - Take care of directions of length zero, in value and in gradient: a student may collapse what its teacher tells apart.
# - They are judged by what they are for. A gain in retrieval need not be one in accuracy.
# - A gain over labels alone is not yet a use. Compare it with the pixels, their main components and the first weights.
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
