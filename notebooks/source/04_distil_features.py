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
# # Distil features
#
# A teacher's last layer says what it thinks of a picture; the layers before it say how it came to think so. What a layer gives is called a
# *feature*. In this lab you look at features first, then match them in three ways that you write yourself, and then see what eight such
# methods are worth, alone and with plain KD (*knowledge distillation* on logits, lab 03).
#
# **You will** read the layers of a network without rewriting it, compare what two networks see, and match it in eight ways.
# **You will learn** which layer to match, what a regressor is for, and when features cost more than they bring.
# **You need** lab 03. **Time:** 90 minutes of yours; the machine needs about a minute and a quarter in all.
#
# All words of the course stand in the [glossary](../docs/glossary.md).

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import pandas as pd
import torch
from torch.nn import functional as F

data = kd.load_images()
teacher = kd.zoo.teacher("convnet", data)

# %% [markdown]
# ## Look inside first
#
# Teacher and student are convolutional networks with four stages each. The output of a stage for one picture is a stack of *maps*, one for each
# *channel*: shape (C, H, W) for C channels of H × W positions. The student is far smaller than the teacher, and learns from 1,000 labelled
# pictures. We train it once, on labels only, so that there is something to look at.

# %%
methods = kd.study("04-methods", data)
labels_only = methods.recipes["labels only"]
student = labels_only.run(seed=0)

kd.measure.summary({"teacher": teacher, "student": student}, data.test)

# %% [markdown]
# A network's layers have names, and any of them can be *tapped*: its output then comes back beside the logits. The model is not rewritten.
# `torch.fx` traces it and adds the taps, so this works for every torchvision model too.

# %%
kd.tapping.layers(student)

# %% [markdown]
# The code of papers mostly uses PyTorch's own way, a *forward hook*. It is a function that a layer calls at every run, with what went in and
# what came out. Two things go wrong with it: a later layer may write over the output in place, and a hook that is left behind runs again at
# every later call.

# %%
kd.exercise("04.feature_hook")


# %% tags=["exercise"] exercise="04.feature_hook"
def feature_hook(model, name, images):
    """Run the model on images (N, C, H, W) -> what the layer of this name gave out, with its gradient."""
    ...  # your code


# %%
feature_hook = kd.exercise("04.feature_hook").check(feature_hook)

# %% [markdown]
# The student's maps come from your hook, the teacher's from the taps. On the student both give the same. The shapes are (N, C, H, W) for N pictures:

# %%
shown = data.test.take(torch.arange(500))
stages = ["stage1", "stage2", "stage3", "stage4"]
teacher_maps = kd.measure.outputs(teacher, shown, stages)
with torch.no_grad():
    student_maps = {layer: feature_hook(student, layer, shown.images) for layer in stages}
for layer, tapped in kd.measure.outputs(student, shown, stages).items():
    if layer in stages:
        torch.testing.assert_close(student_maps[layer], tapped, rtol=1e-3, atol=1e-3)
{layer: tuple(maps.shape) for layer, maps in teacher_maps.items() if layer in stages}

# %% [markdown]
# The deeper the layer, the coarser its maps.
#
# ## Compare what two layers see
#
# Two layers with different numbers of channels cannot be subtracted. *Centred kernel alignment*, CKA (Kornblith et al. 2019), asks another
# question: do both layers find the same pictures alike?
#
# $$\mathrm{CKA} = \frac{\sum_{i,j} K_{ij} L_{ij}}{\sqrt{\sum_{i,j} K_{ij}^2} \sqrt{\sum_{i,j} L_{ij}^2}}$$
#
# $$K = X X^\top \qquad L = Y Y^\top$$
#
# $X$ holds one layer's features and $Y$ the other's, laid flat: shapes (N, D) and (N, E) for N pictures and D or E numbers each,
# less their means over the pictures. $K$ and $L$, of shape (N, N), hold the inner product of each pair of pictures; $i$ and $j$
# run over the pictures. CKA is 1 where the two tables are equal up to a factor, whatever the channels, the scale or a rotation.
#
# **Predict**: which of the teacher's stages is most like the student's third?

# %%
partner = kd.predict(
    "04.most-alike",
    "Which of the teacher's four stages is most like the student's third, by CKA?",
    options=stages,
)
partner

# %%
alike = [
    [
        kd.measure.centered_kernel_alignment(student_maps[ours], teacher_maps[theirs])
        for theirs in stages
    ]
    for ours in stages
]

# %% [markdown]
# The table shows the CKA of each pair of layers. Choose a layer of each network, with the sliders or by a click on the table, and a picture.
# Beside the table stand both layers' maps of this picture: first the *attention*, which is the mean of all channels squared, then the
# strongest channels. Which of the teacher's layers is most like each of the student's, and do the two look at the same places?

# %%
looked_at = 20
matcher = kd.widgets.layer_matcher(
    data.pictures(shown.images[:looked_at]),
    {layer: student_maps[layer][:looked_at] for layer in stages},
    {layer: teacher_maps[layer][:looked_at] for layer in stages},
    alike,
)
matcher

# %% tags=["widget-test"]
with matcher.restored():
    for layer, other, picture in (
        ("stage1", "stage1", 0),
        ("stage2", "stage3", 10),
        ("stage4", "stage4", 19),
    ):
        matcher.move(student=layer, teacher=other, picture=picture)
        assert f"student's {layer} and the teacher's {other}: CKA " in matcher.description

# %%
third = torch.tensor(alike[stages.index("stage3")])
partner.answer(stages[third.argmax()])

# %% [markdown]
# ## Six things that can be matched
#
# | what | method | the question it asks of the student |
# |---|---|---|
# | logits | plain KD (lab 03) | do you answer alike? |
# | features | FitNets' hint, attention transfer, neuron selectivity, variational information | do you see alike? |
# | weights | a learned map of the weights | are you built alike? |
# | gradients | Jacobian matching, gradient attention | do the same pixels move you? |
# | sparsity pattern | activation boundaries | do the same neurons fire? |
# | relations | lab 05 | do you find the same pictures alike? |
#
# Three of them come in depth: the hint, attention transfer and Jacobian matching. The others follow with one formula each.

# %% [markdown]
# ## First method: the hint
#
# **The question**: can the student's maps be turned into the teacher's? FitNets (Romero et al. 2015) wants the teacher's maps themselves. The
# teacher has 256 channels in its last stage and the student 32, so a small layer between them, the *regressor*, guesses the teacher's
# channels from the student's:
#
# ```
# picture → student → maps (N, 32, H, W) → regressor → guess (N, 256, H, W)
# picture → teacher → maps (N, 256, H, W): what the guess should be
# ```
#
# $$L = \frac{1}{N C_t H W} \sum_{n,c,h,w} \left( r(f^s)_{nchw} - f^t_{nchw} \right)^2$$
#
# - $f^s$ and $f^t$ are the maps of student and teacher, of shapes (N, $C_s$, H, W) and (N, $C_t$, H, W), for N pictures.
# - $r$ is the regressor, a 1×1 convolution: a matrix of shape ($C_t$, $C_s$), applied at every position. If the sizes H × W differ, averages
#   over positions bring its guess to the teacher's size.
#
# The loss is the mean squared difference over all elements: $n$ counts pictures, $c$ the teacher's channels, $h$ and $w$ the
# positions. No gradient reaches the teacher.

# %%
kd.exercise("04.hint")


# %% tags=["exercise"] exercise="04.hint"
def hint(student_features, teacher_features, regressor):
    """Maps (N, Cs, H, W), (N, Ct, H, W), a module from Cs to Ct channels -> scalar; no gradient into the teacher."""
    ...  # your code


# %%
hint = kd.exercise("04.hint").check(hint)

# %% [markdown]
# The regressor is thrown away after training. While training lasts it must learn, or the student imitates a random projection. The gradient of
# the loss reaches its weights, but only an optimiser that knows them moves them.

# %%
kd.exercise("04.parameters_to_train")


# %% tags=["exercise"] exercise="04.parameters_to_train"
def parameters_to_train(student, teacher, helpers):
    """Modules, and a list of modules -> the parameters that the optimiser must see."""
    ...  # your code


# %%
parameters_to_train = kd.exercise("04.parameters_to_train").check(parameters_to_train)

# %% [markdown]
# **What it measured.** In the course's training loop a method makes its regressor when it first sees the shapes, and hands the regressor's
# weights to the optimiser itself. We train one student with a hint for 200 steps. How much of the teacher's last stage can be guessed from the
# student's, on test pictures? Your hook and your loss measure it.

# %%
hints = kd.methods.Hint({"stage4": "stage4"})
few = data.train.sample(1000, seed=0)
cache = kd.TeacherCache(teacher)

guesser = labels_only.student(seed=0)
kd.train(guesser, few, kd.HardTarget() + hints * 3, teacher=cache, steps=200, batch_size=32)
theirs = teacher_maps["stage4"]
with torch.no_grad():
    ours = feature_hook(guesser.eval(), "stage4", shown.images)
    missed = hint(ours, theirs, hints.adapters[0])
    guessed = hints.adapters[0](ours)
explained = 1 - missed / (theirs - theirs.mean(0)).square().mean()

# %%
kd.say(
    f"After 200 steps the regressor explains **{explained:.0%}** of the teacher's last stage. (To guess each channel's mean explains 0 %. "
    "Less than that means that the regressor fails on pictures that it has not seen.)"
)

# %% [markdown]
# Four test pictures, and all that the teacher's last stage says of each: a small square for each channel, bright where its value is large. In
# the lower row the regressor's guess.

# %%
tiles = torch.cat([theirs[:4], guessed[:4]]).flatten(1).view(8, 16, -1)
tiles = (tiles.clamp(min=0) / theirs[:4].amax()).clamp(max=1)
captions = [
    f"{name}: {data.classes[label]}"
    for name in ("teacher", "guess")
    for label in shown.labels[:4]
]
kd.plots.pictures(tiles, captions, columns=4)

# %% [markdown]
# ### Which layer should be matched?
#
# This experiment takes longer than this lab has. So it was run once with five *seeds* (numbers that fix first weights, pictures and their
# order) and is stored; `kdcourse results 04` repeats it. The same hint is given at each of the four stages; student, pictures, number of
# steps and the *weight* by which the hint's loss is multiplied are the same. Each *arm*, as the compared runs are called, is held against labels only, *paired*: seed by seed. *Helps* means
# that the 95 % interval of the mean difference lies above zero, *hurts* that it lies below.

# %%
layers = kd.study("04-layers", data).stored()
layers.figure()

# %%
best = layers.best(on="validation")
others = {stage: layers.difference(best, stage) for stage in stages if stage != best}
kd.say(
    f"Chosen on validation data: **{best}**, {layers.difference(best)} over labels only. Held against the other stages: "
    + "; ".join(f"{stage} {gain} ({gain.verdict})" for stage, gain in others.items())
    + "."
)

# %% [markdown]
# ## Second method: attention transfer
#
# **The question**: does the student look at the same places as the teacher, whatever its channels are? Attention transfer, AT (Zagoruyko,
# Komodakis 2017), first takes the channels away. What is left is one number for each position: how active the layer is there. Here are these
# *attention maps* of the second stage, the teacher's above the student's:

# %%
second = {"teacher": teacher_maps["stage2"][:4], "student": student_maps["stage2"][:4]}
looks = torch.cat(
    [kd.losses.attention_map(maps).view(4, *maps.shape[-2:]) for maps in second.values()]
)
captions = [f"{name}: {data.classes[label]}" for name in second for label in shown.labels[:4]]
kd.plots.pictures(looks / looks.amax((1, 2), keepdim=True), captions, columns=4)

# %% [markdown]
# $$a_n = \mathrm{vec}\left( \frac{1}{C} \sum_{c=1}^{C} f_{nc}^2 \right) \qquad q_n = \frac{a_n}{\| a_n \|_2}$$
#
# $$L = \frac{1}{N H W} \sum_{n=1}^{N} \| q^s_n - q^t_n \|_2^2$$
#
# - $f$ are a layer's maps, of shape (N, C, H, W); $f_{nc}$ is the map of channel c for picture n, squared position by position.
# - vec lays a map out as one row, so $a$ has shape (N, H·W). Nothing of C is left, and 16 channels can learn from 64 without a regressor.
# - $q$, also (N, H·W), is $a$ with each row scaled to Euclidean length 1. $q^s$ is the student's, $q^t$ the teacher's.
#
# The loss is the mean over pictures and positions. Where the two sizes H × W differ, the larger map is average-pooled to the smaller.

# %%
kd.exercise("04.attention_map")


# %% tags=["exercise"] exercise="04.attention_map"
def attention_map(features):
    """(N, C, H, W) -> (N, H*W), each row of Euclidean length 1."""
    ...  # your code


# %%
attention_map = kd.exercise("04.attention_map").check(attention_map)

# %%
kd.exercise("04.attention_transfer")


# %% tags=["exercise"] exercise="04.attention_transfer"
def attention_transfer(student_features, teacher_features):
    """Maps (N, Cs, H, W) and (N, Ct, H, W) -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
attention_transfer = kd.exercise("04.attention_transfer").check(attention_transfer)

# %% [markdown]
# Your loss is the package's, where the sizes agree:

# %%
ours, theirs = student_maps["stage2"], teacher_maps["stage2"]
torch.testing.assert_close(
    attention_transfer(ours, theirs), kd.losses.attention_transfer(ours, theirs)
)

# %% [markdown]
# **What it measured**, in the stored study of which the whole table stands below: five paired seeds, 1,000 labelled pictures, the second stage.

# %%
stored = methods.stored()

# %%
kd.say(
    f"Attention transfer with labels, against labels only: {stored.difference('attention transfer')}, "
    f"**{stored.difference('attention transfer').verdict}**. The hint at the last stage: {stored.difference('hint')}, "
    f"**{stored.difference('hint').verdict}**."
)

# %% [markdown]
# ## Third method: Jacobian matching
#
# **The question**: do the same pixels move both networks' answers? The derivative of the true class's logit with respect to a
# pixel says how this logit reacts to a small change of that pixel. Srinivas and Fleuret (2018) match these derivatives; all of
# them together are the *Jacobian* of the network.
#
# ```
# picture x → network → logit of the true class → derivative by each pixel → scaled to length 1
# ```
#
# $$g_n = \frac{\partial z_{n y_n}}{\partial x_n} \qquad u_n = \frac{g_n}{\| g_n \|_2}$$
#
# $$L = \frac{1}{N D} \sum_{n=1}^{N} \| u^s_n - u^t_n \|_2^2$$
#
# - $x_n$ is picture n with its D numbers: channels times pixels.
# - $z$ are a network's logits, of shape (N, C) for C classes, and $y_n$ is the label of picture n, so $z_{n y_n}$ is the logit of its true class.
# - $g_n$ holds D derivatives, laid flat, so $g$ has shape (N, D). $u$ is $g$ with each row scaled to length 1, because the scale of the
#   logits differs from network to network. $u^s$ is the student's, $u^t$ the teacher's.
#
# To minimise this loss, a gradient is differentiated once more.

# %%
kd.exercise("04.input_gradient")


# %% tags=["exercise"] exercise="04.input_gradient"
def input_gradient(logits, inputs, labels):
    """Logits (N, C), the inputs (N, ...) they were computed from, labels (N,) -> (N, D), rows of length 1."""
    ...  # your code


# %%
input_gradient = kd.exercise("04.input_gradient").check(input_gradient)

# %% [markdown]
# Which pixels move a network when it decides on a picture? The next figure draws the size of each derivative, bright where it is large.
# **Predict**: how alike are the reactions of the two networks to the same picture, as the cosine between them? It is 1 where the same pixels
# move both, and 0 where no pixel moves both.

# %%
shared = kd.predict(
    "04.same-pixels",
    "How alike are the pixels that move the teacher and those that move the student, as a cosine?",
    between=(0, 1),
)
shared

# %%
inputs = shown.images[:4].clone().requires_grad_()
labels = shown.labels[:4]
reactions = {
    name: input_gradient(model(inputs), inputs, labels)
    .detach()
    .abs()
    .view(4, -1, *inputs.shape[-2:])
    .mean(dim=1)
    for name, model in (("teacher", teacher), ("student", student))
}
cosines = F.cosine_similarity(*(maps.flatten(1) for maps in reactions.values()))
reacting = kd.plots.pixel_maps(
    data.pictures(inputs.detach()),
    reactions,
    [data.classes[label] for label in labels],
    what="size of the gradient",
)
shared.answer(cosines.mean().item(), on=reacting)

# %% [markdown]
# **What it measured**, in the same stored study:

# %%
kd.say(
    f"Jacobian matching with labels, against labels only: {stored.difference('Jacobian')}, **{stored.difference('Jacobian').verdict}**. "
    "What a step of it costs is measured below."
)

# %% [markdown]
# ## The others, one formula each
#
# In all of them $s$ stands for the student and $t$ for the teacher, N counts pictures, mean is taken over all elements, and the bracket $[\,]$
# is 1 where its condition holds and 0 elsewhere. Maps $f$ have shape (N, C, H, W); $C_s$ and $C_t$ are the numbers of channels.
#
# **Activation boundaries**, AB (Heo et al. 2019): do the same neurons fire, no matter how strongly? A ReLU network cuts its input space along
# *activation boundaries*: on one side of each a neuron fires, on the other it does not. $s$ and $t$ are the features *before* the ReLU (here of the
# layer `stage4.1`), of one shape; a regressor brings the student's to the teacher's channels. $m > 0$ is a margin, 1 by default.
#
# $$a = (s + m)^2 [s > -m, t \le 0]$$
#
# $$b = (s - m)^2 [s \le m, t > 0]$$
#
# $$L = \mathrm{mean}(a + b)$$
#
# $a$ pushes down what fires and should not, $b$ pushes up what should fire and does not. This one you write as well.

# %%
kd.exercise("04.activation_boundary")


# %% tags=["exercise"] exercise="04.activation_boundary"
def activation_boundary(student_pre, teacher_pre, margin):
    """Pre-activations of one shape -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
activation_boundary = kd.exercise("04.activation_boundary").check(activation_boundary)

# %% [markdown]
# **Neuron selectivity**, NST (Huang, Wang 2017): do both layers have the same spatial patterns among their channels? $s_{ni}$ is channel i of the
# student's maps for picture n, laid flat to H·W numbers and scaled to length 1; $t_{nj}$ likewise. The dot is the inner product of two such rows.
#
# $k$ is the mean of the squared products over all pairs of channels.
#
# $$L = \frac{1}{N} \sum_{n=1}^{N} \left( k(t_n, t_n) + k(s_n, s_n) - 2 k(s_n, t_n) \right)$$
#
# $$k(s_n, t_n) = \frac{1}{C_s C_t} \sum_{i,j} (s_{ni} \cdot t_{nj})^2$$
#
# **Variational information**, VID (Ahn et al. 2019): how much of the teacher's maps can be foreseen from the student's, channel by channel? $\mu$ is
# a learned map, two 1×1 convolutions with a ReLU between, from $C_s$ to $C_t$ channels. $\sigma^2$, of shape ($C_t$,), is a learned variance
# for each channel: what cannot be foreseen gets a large one, and so little weight.
#
# $$L = \frac{1}{2} \mathrm{mean}\left( \frac{(\mu(f^s) - f^t)^2}{\sigma^2} + \log \sigma^2 \right)$$
#
# **Weights** (Gou et al. 2021): is the student built as the teacher is? $W^s$ and $W^t$ are the weights of one layer of each, of shapes
# $(o_s, i_s)$ and $(o_t, i_t)$ for outputs and inputs, at each position of the kernel. $A$ of shape $(o_t, o_s)$ and $B$ of shape $(i_t, i_s)$
# are learned, because the sizes differ.
#
# $$L = \mathrm{mean}\left( (A W^s B^\top - W^t)^2 \right)$$
#
# **Gradient attention** (Zagoruyko, Komodakis 2017): are both losses sensitive at the same places? $\ell^s$ and $\ell^t$ are the two networks'
# cross-entropies with the labels, $x$ are the pictures, and AT is the loss of attention transfer, given these gradients in place of maps.
#
# $$L = \mathrm{AT}\left( \frac{\partial \ell^s}{\partial x}, \frac{\partial \ell^t}{\partial x} \right)$$
#
# Two more are for transformers (lab 09). $m_{nl}$ is 1 where token l of text n is real, and 0 where it is padding.
#
# **Hidden cosine** (Sanh et al. 2019): do the hidden states point the same way? $s_{nl}$ and $t_{nl}$ are the D numbers of one token; the states have
# shape (N, L, D) for L tokens.
#
# $$L = \frac{1}{\sum_{n,l} m_{nl}} \sum_{n,l} m_{nl} \left( 1 - \frac{s_{nl} \cdot t_{nl}}{\| s_{nl} \|_2 \| t_{nl} \|_2} \right)$$
#
# **Attention scores** (Jiao et al. 2020): does each token attend to the same tokens? $s_{nhij}$ is the student's score of token i for token j in head
# h; the scores have shape (N, heads, L, L).
#
# $$L = \frac{\sum_{n,h,i,j} m_{ni} m_{nj} (s_{nhij} - t_{nhij})^2}{\sum_{n,h,i,j} m_{ni} m_{nj}}$$

# %% [markdown]
# ## Measure: each method, alone and with plain KD
#
# Eight methods, each with the labels alone and on top of plain KD (T = 4, alpha = 0.9: the teacher has nine tenths of the loss). All arms have
# the same 1,000 pictures, 600 steps and five paired seeds.
#
# The loss of each method is multiplied by a *weight* before it is added, and a wrong weight can make any method look useless. So
# each method got the best of five or six weights on Fashion-MNIST's *validation* pictures, which neither train nor judge, with
# three other seeds than those that are ranked; the glyphs, the course's built-in pictures of letters and digits, get the same
# weights. This too is stored. The first table shows the weights. Where the best one is the smallest or the largest that was
# tried, a better one may lie beyond, and the method may be worth more than its row says.

# %%
looked = kd.stored("04-weights", "fashion-mnist").validation
tried = looked.mean()
pd.DataFrame(
    {
        method: {
            "weights tried": ", ".join(f"{weight:g}" for weight in weights),
            "best": f"{best:g}",
            "at the edge": "yes" if best in (weights[0], weights[-1]) else "",
            "validation accuracy, %": round(tried[f"{method} × {best:g}"], 1),
        }
        for method, (_, weights, best) in kd.studies.lab_04.FEATURES.items()
    }
).T

# %% [markdown]
# The second table holds each method with labels against labels only, the third each method with plain KD against plain KD. *Mean*
# is the test accuracy in percent, and ± half the width of its own 95 % interval. *Difference* is the mean difference over seeds
# in points, with its 95 % interval.

# %%
alone = stored.only(*[arm for arm in stored.scores if not arm.startswith("KD")]).table()
alone

# %%
with_kd = (
    stored.against("KD")
    .only(*[arm for arm in stored.scores if arm.startswith("KD +")])
    .table()
)
with_kd

# %% [markdown]
# There are eight intervals in each table. Of twenty 95 % intervals of arms that bring nothing, one on average looks clear by
# luck. The column *Holm* gives the verdict that is left after a correction for this number (Holm 1979); we believe what it still
# calls *helps*. The cheapest *rival* of all eight, which could explain a gain as well and costs less, stands in the first row of
# the third table: plain KD asks the teacher once and looks into no layer.

# %% [markdown]
# Do the stored numbers hold on your machine? We run a part of the study again and set the two side by side.

# %%
again = methods.run("labels only", "hint", seeds=2)
beside = stored.beside(again, within=2)  # processors round differently
beside

# %%
helping = list(alone.index[alone["Holm"] == "helps"])
beyond = list(with_kd.index[with_kd["Holm"] == "helps"])

kd.claim(
    "Activation boundaries teach more than labels alone",
    stored.difference("activation boundaries"),
)
kd.say(
    f"Alone, {len(helping)} of {len(alone) - 1} methods beat *labels only* after Holm's correction: {', '.join(helping)}. "
    f"Plain KD brings {stored.difference('KD')}. On top of plain KD, {len(beyond)} of {len(with_kd) - 1} do: "
    f"{', '.join(one.removeprefix('KD + ') for one in beyond) or 'none'}."
)

# %% [markdown]
# ### What a gradient is worth, and what it costs
#
# A label is one number, logits are ten. A Jacobian has one number for every pixel. It says what the answer would be for all the pictures
# nearby, which the student never sees. Where pictures are few, that can be worth a lot. It is paid for in time: nothing can be cached, and
# both networks are differentiated at each step. How much slower is a step?

# %%
seconds = {}
for arm in ("KD", "Jacobian"):
    method = methods.recipes[arm].method
    run = kd.train(
        labels_only.student(seed=0),
        few,
        method,
        teacher=cache,
        steps=20,
        batch_size=32,
        progress=False,
    )
    seconds[arm] = run.seconds

# %%
beyond_kd = stored.difference("Jacobian", "KD")
kd.say(
    f"Jacobian matching with labels, against plain KD: {beyond_kd} (**{beyond_kd.verdict}**), in the same number of steps. A step takes **{seconds['Jacobian'] / seconds['KD']:.0f}** times as long."
)

# %% [markdown]
# The weight decides as much as the method does. The curve shows the validation accuracy of Jacobian matching at each weight, with
# a band for its 95 % interval; the dashed line is labels only. At the smallest weight the method would have seemed to bring
# little, and at the largest to hurt.

# %%
weights = kd.studies.lab_04.FEATURES["Jacobian"][1]
kd.plots.curves(
    weights,
    {"Jacobian": looked[[f"Jacobian × {weight:g}" for weight in weights]].to_numpy()},
    xlabel="weight (Fashion-MNIST, three seeds)",
    ylabel="validation accuracy, %",
    levels={"Jacobian": looked["labels only"]},
    logarithmic=True,
)

# %% [markdown]
# ### Beside the published table
#
# Tian, Krishnan, Isola (2020), tables 1 and 2: CIFAR-100, test accuracy in %, 240 epochs on all 50,000 pictures.
#
# | | labels only | KD | FitNet | AT |
# |---|---|---|---|---|
# | resnet32x4 → resnet8x4, alike | 72.50 | 73.33 | 73.50 | 73.44 |
# | vgg13 → MobileNetV2, not alike | 64.60 | 67.37 | 64.14 | 59.40 |
#
# FitNet is the hint, AT attention transfer; an arrow leads from teacher to student. The setting differs from ours: colour
# pictures of 100 classes, students that are short of capacity and not of labels, and about six hundred times as many pictures
# seen in training. The pattern to look for: few methods beat plain KD by much, and between unlike networks some cost dearly.
#
# ## When it does not help: a student built differently
#
# The teacher is the same; the student is now a small MobileNet. After its first layer, 3×3 convolutions look at each channel
# alone and 1×1 convolutions mix the channels, and it shrinks its maps by stride in place of pooling. Two students are compared,
# this one and the earlier one, which is built like the teacher. Both get attention transfer at three stages, once with the weight
# of 1000 a stage that the published comparison uses for every pair of networks, and once with the best of five weights on
# validation data, chosen for each student. Both also get a hint at the last stage.
#
# (An earlier run, with a third of the published weight, hurt clearly on glyphs only. This run uses other seeds than that one.)
#
# **Predict**: attention with either weight, and the hint: how many of the three help the student that is built differently?

# %%
survivors = kd.predict(
    "04.survivors",
    "Attention with either weight, and the hint: how many of the three help the student built differently?",
    options=["none of them", "one of them", "two of them", "all three"],
)
survivors

# %% [markdown]
# First the student that is built like its teacher, then the other one. Look at the published weight in both.

# %%
like = kd.study("04-same-architecture", data).stored()
unlike = kd.study("04-other-architecture", data).stored()
like.figure()

# %%
published, tuned = "attention, published weight", "attention, weight by validation"
verdicts = [unlike.difference(arm).verdict for arm in (published, tuned, "hint, stage 4")]
survivors.answer(survivors.options[verdicts.count("helps")], on=unlike.figure())

# %% [markdown]
# One row for each arm: what it brings to each student over labels only, and the second gain less the first, with an interval of
# its own. There *helps* means that the arm brings the student built differently more, and *hurts* that it brings it less.

# %%
assert unlike.difference(published).verdict == "hurts"
rows = {}
for arm in (published, tuned, "hint, stage 4", "KD"):
    more = unlike.gain_beyond(like, arm)
    rows[arm] = [
        str(like.difference(arm)),
        str(unlike.difference(arm)),
        f"{more}, {more.verdict}",
    ]
pd.DataFrame.from_dict(
    rows, orient="index", columns=["built alike", "built differently", "difference of the two"]
)

# %%
apart = unlike.gain_beyond(like, published)
kd.say(
    f"The published weight brings {like.difference(published)} to the student built like its teacher and {unlike.difference(published)} to "
    f"the other one. Does it cost the unlike student more? The difference of the two is {apart}: **{apart.verdict}**. Two verdicts "
    "side by side do not answer this. The third column does, and it can differ from data set to data set. The weight that was chosen "
    f"for each student, against the borrowed one: {like.difference(tuned, published)} and {unlike.difference(tuned, published)}. A weight is no "
    "property of a method: it belongs to a method and a pair of networks."
)

# %% [markdown]
# ## Recap
#
# - Any layer can be tapped; a regressor, or a loss without channels, bridges different widths.
# - What learns beside the student (regressors, variances) belongs in the optimiser.
# - Where labels are few, several feature methods beat labels alone. Few beat plain KD, which is cheaper than all of them.
# - Many intervals at once need a correction. To say that one gain is larger than another, look at the interval of their
#   difference.
# - A method has a weight, and a verdict on the method is a verdict on its weight. Choose it on validation data.
# - A borrowed weight can cost any student. Between unlike networks try plain KD first, because logits mean the same in every
#   architecture, and then a late layer.
#
# ### Check yourself

# %%
quiz = kd.quiz("04")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - `kd.methods.Hint({"stage3": "stage4"})`: does a student learn from a layer deeper than its own?
# - Train in two stages, as FitNets did: hints alone for half of the steps, then plain KD for the rest. Keep the budget.
# - For transformers the package has `kd.losses.hidden_cosine` and `kd.losses.attention_mse`; `kd.DistillationTrainer` uses them.
# - Tap a torchvision model: `kd.tapping.layers(torchvision.models.resnet18())`.
#
# **At full size** (a GPU): the four columns of the table of Tian, Krishnan, Isola (2020), on all pictures. They train for 240 epochs, this
# for about ten. All of `methods.recipes` would take a GPU longer.

# %%
chosen = ("labels only", "KD", "hint", "attention transfer")
full = kd.at_full_size(
    {name: methods.recipes[name] for name in chosen},
    data,
    seeds=3,
    train=data.train,
    steps=1200,
    batch_size=512,
)

# %% [markdown]
# ### Read further
#
# - Romero et al. (2015), *FitNets: Hints for Thin Deep Nets*. Zagoruyko, Komodakis (2017), *Paying More Attention to Attention*.
# - Heo et al. (2019), *Knowledge Transfer via Distillation of Activation Boundaries*. Ahn et al. (2019), *Variational Information
#   Distillation*. Huang, Wang (2017), *Like What You Like*. Srinivas, Fleuret (2018), *Knowledge Transfer with Jacobian Matching*.
# - Tian, Krishnan, Isola (2020), *Contrastive Representation Distillation*: the table, and lab 05's last method.
