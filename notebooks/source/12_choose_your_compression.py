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
# # Choose your compression
#
# The network works, and it is too large for the place where it has to run. Lab 00 named four ways on: prune it, use fewer bits, distil
# a smaller one, fine-tune it. Here they are measured on one and the same network, combined, and taken out of PyTorch altogether.
#
# **You will** prune, quantise, distil and fine-tune one network, export what comes out, and draw accuracy against latency.
# **You will learn** what each way makes smaller and what it leaves as slow as before, what repairs the damage, and how the ways combine.
# **You need** lab 03. **Time:** 75 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %% [markdown]
# This lab is about the processor on which such a network ends up, so all of it runs on the CPU, with or without a GPU beside it.

# %%
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import pandas as pd
import torch

data = kd.load_images(device="cpu")
lab = kd.studies.lab_12

# %% [markdown]
# ## Warm up on a table
#
# Does distillation need pictures? No, only inputs and a teacher's answers to them. Here are rows of 20 numbers in three classes.
# A teacher has learnt from all of them. A student with 8 hidden units gets one of three things: 200 rows with labels; the same
# 200 rows with the teacher's answers; or every row with the teacher's answers and no label at all. The loss with answers is that
# of lab 03 at the temperature 1:
#
# $$L = \frac{1}{N} \sum_{n=1}^{N} \sum_{c=1}^{C} t_n(c) \log \frac{t_n(c)}{p_n(c)}$$
#
# $t$ are the teacher's probabilities and $p$ the student's, both of shape (N, C) for N rows and C = 3 classes.
#
# Each of the three is an *arm*, a recipe that is compared, and is trained with five *seeds*; a seed fixes all that is random in a run.
# Differences are *paired*, taken seed by seed, and come with their 95 % *interval*, in which the mean over more seeds is expected. The
# *verdict* is read off it: *helps* where it lies above zero, *hurts* where it lies below, *no clear difference* where it holds zero.
#
# **Predict** what the answers for all rows bring.

# %%
all_rows = kd.predict(
    "12.all-rows",
    "By how many points do the answers for all rows beat 200 labels, on the test rows?",
    between=(-5, 20),
    unit="points",
)
all_rows

# %%
rows = kd.data.table()


def of_size(*hidden):
    return partial(kd.models.perceptron, hidden, classes=3, inputs=20)


teacher = kd.Recipe(of_size(64, 64), rows.train, steps=1500).run(0)
labelled = kd.Recipe(
    of_size(8), partial(rows.train.sample, 200), steps=400, learning_rate=1e-2
)
taught = replace(labelled, method=kd.SoftTarget(1), teacher=kd.TeacherCache(teacher))
arms = {
    "200 labels": labelled,
    "the same 200, taught": taught,
    "all rows, taught": replace(taught, train=rows.train.unlabelled()),
}
outcome = kd.compare(arms, rows, seeds=5)
outcome.table()

# %%
same = outcome.difference("the same 200, taught")
every = outcome.difference("all rows, taught")
kd.claim("Answers for all rows beat 200 labels", every)
all_rows.answer(every.mean)
kd.say(
    f"On the same 200 rows the teacher brings {same}: **{same.verdict}**. The teacher itself has "
    f"{kd.measure.accuracy(teacher, rows.test):.1f} %. The loop, the losses and the words are those of the picture labs: to them, a row "
    "is a picture of one pixel with 20 channels."
)

# %% [markdown]
# ## One network, and a stopwatch
#
# The network is the perceptron that taught in the labs before. How long does it take? A single call tells you little: the first is slow
# for reasons of its own, and now and then another program holds one up. So warm up with five calls, time many more, and take the median:
#
# $$\text{latency} = 1000 \cdot \mathrm{median}(\tau_1, \dots, \tau_R)$$
#
# $\tau_r$ is how many seconds call $r$ took and $R$ the number of calls, so the latency is in milliseconds.

# %%
network = kd.zoo.teacher("perceptron", data)

# %%
kd.exercise("12.milliseconds")


# %% tags=["exercise"] exercise="12.milliseconds"
def milliseconds(run, clock, repeats):
    """run() does the work, clock() tells seconds -> median milliseconds of this many calls, after five to get warm."""
    ...  # your code


# %%
milliseconds = kd.exercise("12.milliseconds").check(milliseconds)


# %%
def timed(model, batch=64, repeats=50):
    images = data.test.images[:batch]
    with torch.inference_mode():
        return float(milliseconds(lambda: model(images), time.perf_counter, repeats))


one, many = timed(network, batch=1), timed(network)
kd.say(
    f"One picture takes {one:.2f} ms, 64 together {many:.2f} ms: {many / 64:.3f} ms each. Alone, a picture waits until all "
    f"{kd.measure.parameters(network):,} numbers have come from memory; 64 share the trip."
)

# %% [markdown]
# ## Prune: weights, or units
#
# How many of its weights does the network need? Many are close to zero. *Magnitude pruning* takes out those nearest to zero:
#
# $$M_{oi} = \begin{cases} 1 & |W_{oi}| > \theta \\ 0 & \text{otherwise} \end{cases} \qquad \hat W = M \odot W$$
#
# $W$ is a layer's weight, of shape (O, I), for O outputs and I inputs; $o$ counts outputs and $i$ inputs. $M$ is the mask, of the same
# shape. The threshold $\theta$ is such that the wanted share of all O · I weights lies at or below it. $\odot$ multiplies entry by
# entry, and $\hat W$ is what the layer then computes with.

# %%
kd.exercise("12.magnitude_mask")


# %% tags=["exercise"] exercise="12.magnitude_mask"
def magnitude_mask(weight, share):
    """Weight (O, I), share to be taken out -> mask (O, I), torch.bool, True for the weights that stay."""
    ...  # your code


# %%
magnitude_mask = kd.exercise("12.magnitude_mask").check(magnitude_mask)

# %%
matrix = kd.compression.linear_layers(network)[0].weight.detach()
kept = matrix[magnitude_mask(matrix, 0.875)]
kd.say(
    f"Of the first matrix's {matrix.numel():,} weights {len(kept):,} stay when seven in eight go. They hold "
    f"**{kept.square().sum() / matrix.square().sum():.0%}** of the sum of all squares: most weights carry little."
)

# %% [markdown]
# `torch.nn.utils.prune` does this for a whole network at once, and keeps the masks while it trains on; `kd.compression.prune` calls it.
#
# The other way takes out whole hidden units. A unit is a row of its own layer's weight, an entry of its bias, and the column of the
# next layer's weight that listened to it:
#
# $$W' = W_{K,:} \qquad b' = b_K \qquad V' = V_{:,K}$$
#
# $$K = \text{the } k \text{ units } h \text{ with the largest } \|W_{h,:}\|_2$$
#
# $W$ is the layer's weight, of shape (H, I), for H units and I inputs, and $b$ its bias, of shape (H,). $V$ is the next layer's weight,
# of shape (O, H), for O outputs. $K$ holds the $k$ units that stay, and $\|W_{h,:}\|_2$ is the Euclidean length of unit $h$'s row. The
# three with a prime are what is left, smaller matrices without zeros.

# %%
kd.exercise("12.remove_units")


# %% tags=["exercise"] exercise="12.remove_units"
def remove_units(weight, bias, following, keep):
    """Weight (H, I), bias (H,), the next layer's weight (O, H), units that stay (K,) -> all three without the others."""
    ...  # your code


# %%
remove_units = kd.exercise("12.remove_units").check(remove_units)

# %%
first, second, _ = kd.compression.linear_layers(network)
strongest = first.weight.norm(dim=1).topk(150).indices.sort().values
narrow = kd.compression.linear_layers(kd.compression.prune_units(network, 0.875))[0]
weight, bias, _ = remove_units(first.weight, first.bias, second.weight, strongest)
assert torch.equal(narrow.weight, weight) and torch.equal(narrow.bias, bias)

# %% [markdown]
# What runs a layer is a *kernel*, the routine that computes one operation on one kind of processor. A *dense* kernel computes
# with every entry of a matrix, zero or not.
#
# The slider below takes out more and more, in two panels: validation accuracy and time. Look for the share at which each accuracy
# falls, and for the line whose time falls. Models that are compared take turns under the stopwatch, so that a slow moment of the
# machine falls on all of them.
#
# **Predict**, before you move the slider: which hurts more, half the weights or half the units? And which of the two becomes faster?

# %%
worse = kd.predict(
    "12.which-half",
    "Which takes more of the accuracy?",
    options=["half the weights", "half the units", "both alike, to a tenth of a point"],
)
worse

# %%
shares = [0, 25, 50, 75, 87.5, 95]
cuts = {
    "weights": kd.compression.prune,
    "units": kd.compression.prune_units,
}
few = data.validation.take(torch.arange(2000))
pruned = {
    (way, share): kd.compression.remove_masks(without(network, share / 100)).eval()
    for way, without in cuts.items()
    for share in shares
}
taken = kd.costs.milliseconds(pruned, data.test, batch_size=64)
accuracy = {
    way: [kd.measure.accuracy(pruned[way, share], few) for share in shares] for way in cuts
}
waiting = {way: [taken[way, share] for share in shares] for way in cuts}

panels = {"validation accuracy, %": accuracy, "ms for 64 pictures": waiting}


def draw(share):
    return kd.plots.traced(
        shares, panels, xlabel="share taken out, %", chosen=shares.index(share)
    )


# %%
pruning = kd.widgets.live(
    draw, share=widgets.SelectionSlider(options=shares, value=50, description="taken out, %")
)
pruning

# %% tags=["widget-test"]
with pruning.restored():
    for share in (0, 75, 95):
        pruning.move(share=share)
        assert f"share taken out, % {share:g}." in pruning.description

# %%
half = [round(accuracy[way][shares.index(50)], 1) for way in ("weights", "units")]
worse.answer(worse.options[2 if half[0] == half[1] else half.index(min(half))])

# %%
place = shares.index(87.5)
holes, fewer = waiting["weights"][place], waiting["units"][place]
whole, whole_again = waiting["weights"][0], waiting["units"][0]
assert fewer < 0.6 * min(whole, whole_again) and fewer < holes
kd.say(
    f"With seven weights in eight gone the network takes {holes:.2f} ms for 64 pictures. With nothing gone it takes {whole:.2f} ms, and "
    f"{whole_again:.2f} ms at another try: a dense kernel multiplies by zero as by any other number. With seven units in eight gone it "
    f"takes **{fewer:.2f} ms**: the matrices themselves are smaller. Both cost accuracy: {accuracy['weights'][place]:.0f} % without the "
    f"weights and {accuracy['units'][place]:.0f} % without the units, in place of {accuracy['units'][0]:.0f} %. Training can repair part of it, as shown below."
)

# %% [markdown]
# ### Zeros that hardware can skip: two of four
#
# Zeros save no time where nobody knows in advance where they lie. What if they lie in a fixed pattern? In *2:4 sparsity* every group of
# four neighbours in a row keeps its two largest weights:
#
# $$M_{o,4g+j} = \begin{cases} 1 & |W_{o,4g+j}| \text{ is one of the two largest of } |W_{o,4g}|, \dots, |W_{o,4g+3}| \\ 0 & \text{otherwise} \end{cases}$$
#
# $$\hat W = M \odot W$$
#
# $W$ is the weight, of shape (O, I), for O outputs and I inputs. $o$ counts the outputs, $g$ the groups from 0 to I/4 − 1, and $j$ the
# places in a group from 0 to 3, so a group lies along the inputs. $M$ is the mask, of shape (O, I), $\odot$ multiplies entry by entry,
# and $\hat W$ is what the layer then computes with.
#
# The pattern is for the *sparse tensor cores* of NVIDIA's GPUs since the Ampere generation (2020). They store the two weights
# and, in two bits each, their places: 36 bits for a group of four 16-bit numbers, in place of 64. They leave out half of the
# products, so that a matrix product is up to twice as fast. This lab's processor has no kernel for it. Masks that keep half of
# all weights wherever they lie are called *unstructured*.

# %%
kd.exercise("12.two_of_four")


# %% tags=["exercise"] exercise="12.two_of_four"
def two_of_four(weight):
    """Weight (O, I), I a multiple of 4 -> mask (O, I), torch.bool, True for the two largest of every four in a row."""
    ...  # your code


# %%
two_of_four = kd.exercise("12.two_of_four").check(two_of_four)
assert torch.equal(
    kd.compression.linear_layers(kd.compression.prune_groups(network))[0].weight != 0,
    two_of_four(matrix),
)

# %% [markdown]
# The price of the pattern: it has to drop a large weight where four large ones are neighbours. The table sets it beside unstructured
# masks with as many zeros; 1:4 keeps one weight of every four. Nothing is trained.

# %%
patterns = {
    "nothing pruned": network,
    "50 %, unstructured": kd.compression.prune(network, 0.5),
    "50 %, 2:4": kd.compression.prune_groups(network),
    "75 %, unstructured": kd.compression.prune(network, 0.75),
    "75 %, 1:4": kd.compression.prune_groups(network, keep=1),
}
patterned = {
    name: kd.compression.remove_masks(model).eval() for name, model in patterns.items()
}
first_layer = {
    name: kd.compression.linear_layers(model)[0].weight for name, model in patterned.items()
}
by_pattern = pd.DataFrame(
    {
        "validation accuracy, %": [
            kd.measure.accuracy(one, few) for one in patterned.values()
        ],
        "squares kept in layer 1, %": [
            100 * (weight.square().sum() / matrix.square().sum()).item()
            for weight in first_layer.values()
        ],
        "ms for 64": kd.costs.milliseconds(patterned, data.test, batch_size=64).values(),
    },
    index=list(patterned),
)
by_pattern.round(2)

# %%
scores_of = by_pattern["validation accuracy, %"]
price = {
    share: scores_of[f"{share}, {pattern}"] - scores_of[f"{share}, unstructured"]
    for share, pattern in (("50 %", "2:4"), ("75 %", "1:4"))
}
kd.say(
    f"At 50 % the pattern changes the validation accuracy by {price['50 %']:+.2f} points against unstructured zeros, at 75 % by {price['75 %']:+.2f}. "
    "One network that trains nothing has no luck of seeds, so read only the size of these numbers. The times are those of dense matrices: the zeros "
    "are there, and no kernel here knows it."
)

# %% [markdown]
# ## Quantise: fewer bits
#
# Does a weight need its 32 bits? Eight bits leave 255 values: a whole number from −127 to 127, the *code*, and one scale for each row:
#
# $$s_o = \frac{\max_i |W_{oi}|}{127} \qquad q_{oi} = \mathrm{round}(W_{oi} / s_o) \qquad \hat W_{oi} = s_o\, q_{oi}$$
#
# $W$ is a weight of shape (O, I), for O outputs and I inputs; $s$ are the scales, of shape (O, 1), and $q$ the codes, of shape (O, I).
# $\hat W$ is what the codes stand for. The number 0 has the code 0: this is *symmetric* quantisation.

# %%
kd.exercise("12.to_int8")


# %% tags=["exercise"] exercise="12.to_int8"
def to_int8(weight):
    """Weight (O, I) -> codes (O, I) from -127 to 127, torch.int8, and scale (O, 1); codes * scale is close to weight."""
    ...  # your code


# %%
to_int8 = kd.exercise("12.to_int8").check(to_int8)

# %%
codes, scale = to_int8(matrix)
error = (codes * scale - matrix).abs() / scale
kd.say(
    f"Your codes of the first matrix are off by at most **{error.max():.2f}** of a step, {error.mean():.2f} on the mean: rounding to the "
    "nearest whole number can be off by half a step and no more."
)

# %% [markdown]
# ### Activations: scale and zero point
#
# Weights lie on both sides of zero. Activations, what flows from layer to layer, need not: after a ReLU none is negative. Codes from
# −127 to 127 would then never use their lower half. Can the codes be laid over the range that is really there? *Affine* (or
# *asymmetric*) quantisation does that, with a scale and a *zero point*, the code that stands for the number 0:
#
# $$s_n = \frac{h_n - l_n}{255} \qquad z_n = \mathrm{round}(-l_n / s_n)$$
#
# $$q_{nd} = \mathrm{clamp}\big(\mathrm{round}(a_{nd} / s_n) + z_n,\, 0,\, 255\big)$$
#
# $$\hat a_{nd} = s_n\, (q_{nd} - z_n) \qquad l_n = \min\big(0, \min_d a_{nd}\big) \qquad h_n = \max\big(0, \max_d a_{nd}\big)$$
#
# $a$ are the activations of a layer, of shape (N, D) for N pictures and D units; $n$ counts pictures and $d$ units. $l$ and $h$ are the
# ends of each picture's range, $s$ the scales and $z$ the zero points, all of shape (N, 1). $q$ are the codes, of shape (N, D), whole
# numbers of 8 bits without a sign (`torch.uint8`), and $\hat a$ is what they stand for.
#
# The range always holds 0 and the zero point is a whole number, so the number 0 has a code of its own and comes back as exactly 0. Most
# activations after a ReLU are 0, so that counts. The clamp is for values that round to beyond the last code, and for ranges that were
# measured beforehand, on other pictures (*calibration*).

# %%
kd.exercise("12.to_uint8")


# %% tags=["exercise"] exercise="12.to_uint8"
def to_uint8(activations):
    """Activations (N, D) -> codes (N, D), torch.uint8, scale (N, 1), zero point (N, 1); scale * (codes - zero) is close."""
    ...  # your code


# %%
to_uint8 = kd.exercise("12.to_uint8").check(to_uint8)

# %% [markdown]
# **Predict**: by what factor does the squared error after a ReLU fall, when the codes cover only the side that is used?

# %%
zero_points = kd.predict(
    "12.zero-point",
    "Symmetric codes over affine ones: how many times as large is the mean squared error after the first ReLU?",
    between=(1, 10),
    unit="times",
)
zero_points

# %%
flowing = {"pixels": data.validation.images[:500].flatten(1)}
for number, layer in enumerate(kd.compression.linear_layers(network)[:-1], start=1):
    flowing[f"after ReLU {number}"] = layer(list(flowing.values())[-1]).relu().detach()


def squared_errors(rows):
    """Of symmetric codes, whose zero point is 0, and of affine ones."""
    for codes, scale, zero in ((*to_int8(rows), 0), to_uint8(rows)):
        yield ((codes.float() - zero) * scale - rows).square().mean().item()


ranges = pd.DataFrame(
    {
        name: [rows.min().item(), rows.max().item(), *squared_errors(rows)]
        for name, rows in flowing.items()
    },
    index=["smallest", "largest", "squared error, symmetric", "squared error, affine"],
).T
ranges.map("{:.2g}".format)

# %%
times = ranges["squared error, symmetric"] / ranges["squared error, affine"]
zero_points.answer(round(times["after ReLU 1"], 1))
kd.say(
    f"After the first ReLU symmetric codes have **{times['after ReLU 1']:.1f} times** the squared error of affine ones: half as many codes are steps twice as "
    f"wide, and the squared error goes with the square of the step. For the pixels it is {times['pixels']:.1f} times: what the zero point brings "
    "depends on how lopsided the range is, and on how many values lie at its end, which has a code of its own. Weights lie about evenly around zero, and for them the zero point is mostly left out."
)

# %% [markdown]
# The library `torchao` quantises a whole network, in two ways. With *weights only*, each matrix is unpacked before it is used. With
# *activations too*, what flows in is rounded as it comes, one scale for each picture, and the product itself is one of whole numbers:
#
# $$y_{no} \approx s^a_n\, s^W_o \sum_{i=1}^{I} q^a_{ni}\, q^W_{oi} + b_o$$
#
# $y$ are a layer's outputs, of shape (N, O), for N pictures. $q^a$ are the codes of its inputs, of shape (N, I), and $s^a$ their
# scales, of shape (N, 1). $q^W$ and $s^W$ are those of the weight, as above, and $b$ is the bias, of shape (O,). Here both are
# symmetric; ONNX Runtime, at the end of the lab, gives its activations a zero point.
#
# The table shows accuracy on test pictures, the size in kB, millions of operations a picture (MFLOPs), the time for one picture
# and for 64, and the energy for one in millijoules (mJ). A dash stands for what cannot be read here, such as energy where the
# processor shows no meter. **Predict**: which of them does int8 improve?

# %%
int8_time = kd.predict(
    "12.int8-time",
    "For one picture, is the network with its weights in int8 faster or slower than before, here in plain PyTorch?",
    options=["faster", "slower"],
)
int8_time

# %%
coarse = {
    "the network": network,
    "int8, weights only": kd.compression.quantize(network),
    "int8, activations too": kd.compression.quantize(network, activations=True),
}
costs = kd.costs.table(coarse, data.test)
costs


# %%
def pace(before, after):
    return (
        f"{before / after:.1f} times as fast"
        if after < before
        else f"{after / before:.1f} times as slow"
    )


in_32, unpacked, rounded = costs.to_dict("records")
int8_time.answer("faster" if unpacked["ms for 1"] < in_32["ms for 1"] else "slower")
kd.say(
    f"{unpacked['kB']:,} kB in place of {in_32['kB']:,}, {unpacked['accuracy, %']:.1f} and {rounded['accuracy, %']:.1f} % right in place of "
    f"{in_32['accuracy, %']:.1f} %. And for one picture the first is **{pace(in_32['ms for 1'], unpacked['ms for 1'])}**, the second "
    f"**{pace(in_32['ms for 1'], rounded['ms for 1'])}**: plain PyTorch rounds, packs and unpacks in operations of their own, which a network has "
    "to be large to pay for. Bytes belong to the numbers, time belongs to the kernel; another runtime follows below."
)

# %% [markdown]
# ### How few bits? A sensitivity scan
#
# Fewer than eight bits have no kernel here, but rounding alone can be tried. Which layer can spare the most? A *sensitivity scan*
# rounds one layer at a time and leaves all others as they are. Read its table by columns, from the top down: the last row before the
# validation accuracy falls says how many bits that layer needs when nothing else is rounded. Where layers differ, each may get bits of
# its own (*mixed precision*). The columns do not add up: errors of several layers meet, so the first column, with all of them rounded,
# is measured as well.
#
# **Predict**: at how many bits does the accuracy break? And is it one layer's fault?

# %%
breaks = kd.predict(
    "12.bits",
    "Going down, where is more than one point of the accuracy gone first?",
    options=["at 8 bits", "at 4 bits", "at 3 bits", "at 2 bits, or not even there"],
)
breaks

# %%
layers = range(len(kd.compression.linear_layers(network)))
places = {"all layers": layers} | {f"layer {number + 1} alone": [number] for number in layers}


def rounded_to(bits, where, scales="largest"):
    coarse = kd.compression.round_weights(network, bits, layers=where, scales=scales)
    return round(kd.measure.accuracy(coarse, few), 1)


fewer_bits = pd.DataFrame(
    {
        name: [rounded_to(bits, where) for bits in (8, 4, 3, 2)]
        for name, where in places.items()
    },
    index=pd.Index([8, 4, 3, 2], name="bits"),
)
fewer_bits

# %%
gone = fewer_bits["all layers"] - round(accuracy["units"][0], 1)
alone = fewer_bits.drop(columns="all layers").loc[2]
assert gone[8] > -1 and gone[2] < gone[8]
broken = [bits for bits in (8, 4, 3) if gone[bits] < -1]
breaks.answer(breaks.options[[8, 4, 3, 2].index(max(broken, default=2))])
kd.say(
    f"Eight bits change the validation accuracy by {gone[8]:+.1f} points, four by {gone[4]:+.1f}, three by {gone[3]:+.1f}, two by "
    f"{gone[2]:+.1f}. Rounded to two bits one at a time, "
    f"{alone.idxmin().removesuffix(' alone')} leaves the lowest accuracy. Where nothing is lost, a teacher has nothing to "
    "repair. Two bits leave something to repair, so the comparisons below are about two bits."
)

# %% [markdown]
# ### The cheapest repair: better scales
#
# Is it the number of bits that breaks the network, or the scale? So far the largest weight of a row sets the scale of the whole row.
# With two bits the codes are −1, 0 and 1: all weights below half of the largest become 0, and those are nearly all. A smaller scale
# clamps the few large weights and spares the many small ones. The best scale of a row makes the squared error of the row smallest:
#
# $$s_r = \mathrm{argmin}_s \sum_{i=1}^{I} (W_{ri} - s\, q_{ri})^2$$
#
# $$q_{ri} = \mathrm{clamp}\big(\mathrm{round}(W_{ri} / s),\, -Q,\, Q\big)$$
#
# $W$ is a weight matrix of shape (O, I), for O outputs and I inputs; $r$ counts its rows and $i$ its columns. $q$ are the codes, of
# shape (O, I), and $s$ the scales, of shape (O, 1). $Q = 2^{b-1} - 1$ is the largest code of $b$ bits, so $Q = 1$ for two bits. For
# fixed codes the answer is known, and for a fixed scale the codes are. `kd.compression.least_squares_scale` takes turns five times:
#
# $$s_r = \frac{\sum_i W_{ri}\, q_{ri}}{\sum_i q_{ri}^2}$$
#
# Neither turn can make the error larger. No picture is looked at and nothing is trained.
#
# **Predict**: how much of what two bits took does that alone give back?

# %%
from_scales = kd.predict(
    "12.better-scales",
    "How many points of validation accuracy do better scales bring the network in two bits?",
    between=(0, 60),
    unit="points",
)
from_scales

# %%
better = pd.DataFrame(
    {
        scales: [rounded_to(bits, layers, scales) for bits in (8, 4, 3, 2)]
        for scales in ("largest", "best")
    },
    index=fewer_bits.index,
)
better

# %%
from_scales.answer(better.loc[2, "best"] - better.loc[2, "largest"])
kd.say(
    f"With the best scales two bits have {better.loc[2, 'best']:.1f} % of the validation pictures right, in place of "
    f"{better.loc[2, 'largest']:.1f} %; three bits {better.loc[3, 'best']:.1f} % in place of {better.loc[3, 'largest']:.1f} %. "
    "Whoever trains to repair two bits has to beat this rival, which took a fraction of a second."
)

# %% [markdown]
# ## Fine-tune: another task
#
# And if the task has changed? The fourth way of lab 00's table makes nothing smaller. It trains the network on, with labels of
# the new task and the cross-entropy of every lab. Here a new camera lies on its side. The figure shows pictures before and now,
# and the table the accuracy on turned test pictures, without and with fine-tuning.

# %%
turned = lab.rotated(data.test)
kd.plots.pictures(
    data.pictures(torch.cat([data.test.images[:8], turned.images[:8]])),
    ["before"] * 8 + ["now"] * 8,
)

# %%
tuning = kd.study("12-fine-tuning", data)
now, before = tuning.stored(), tuning.stored("-before")
now.table()

# %%
gained, lost = now.difference("fine-tuned"), before.difference("fine-tuned")
kd.claim("Fine-tuning learns the new task", gained, at_least=10)
kd.say(
    f"On turned pictures fine-tuning brings {gained}; on the pictures that the network was made for, {lost}: **{lost.verdict}**. "
    "Not one byte and not one operation less. It is no compression, but repairing what compression broke is done the same way."
)

# %% [markdown]
# ## Repair: two teachers, labels and the network itself
#
# Can training mend what pruning broke, and does it need labels for that? The pruned network gets 5,000 pictures and 300 steps. It
# learns either from their labels or, without them, from the network that it was cut from:
#
# $$L_{\text{labels}} = -\frac{1}{N} \sum_{n=1}^{N} \log \mathrm{softmax}(z_n)(y_n)$$
#
# $$L_{\text{teacher}} = \frac{T^2}{N} \sum_{n=1}^{N} \sum_{c=1}^{C} t_n(c) \log \frac{t_n(c)}{p_n(c)}$$
#
# $$t_n = \mathrm{softmax}(v_n / T) \qquad p_n = \mathrm{softmax}(z_n / T)$$
#
# $z$ are the pruned network's logits and $v$ those of the network as it was, both of shape (N, C) for a mini-batch of N pictures and C
# classes. $y_n$ is the label of picture $n$. The temperature is $T = 2$.
#
# Beside it stands its rival, a student of the very same shape that starts from nothing: distillation alone. Five seeds, stored in a
# *ledger*, the file that keeps a comparison's scores (`kdcourse results 12` repeats it).
#
# **Predict**: does it matter where a small network's first weights come from?

# %%
first_weights = kd.predict(
    "12.first-weights",
    "For one budget, against first weights by chance, starting from the cut network",
    options=["helps", "hurts", "no clear difference"],
)
first_weights

# %%
study = kd.study("12-compression", data)
stored = study.stored()
stored.table()

# %% [markdown]
# The table compares each arm with the network as it was. An arm that trains nothing has no luck of seeds. Its interval is a point, and
# its verdict, *the same for every seed*, says nothing of the luck of the test pictures. "Holm" is the verdict that is left once the
# number of comparisons is allowed for. The figure shows the arms that do train, for pruned units only: each seed's score, and each
# arm's paired difference with its interval.

# %%
stored.only(
    *("units pruned, labels", "units pruned, teacher", "units pruned, teacher, int8"),
    *("small, labels", "small, teacher", "small, teacher, budget × 4"),
).figure()

# %%
kd.claim(
    "A teacher repairs what pruning units broke",
    stored.difference("units pruned, teacher", "units pruned"),
    at_least=5,
)
by_teacher = stored.difference("units pruned, teacher", "units pruned, labels")
bits = stored.difference("units pruned, teacher, int8", "units pruned, teacher")
kd.say(
    f"Taught by its former self, with no label, the pruned network differs by {by_teacher} from one repaired by labels: "
    f"**{by_teacher.verdict}**. Int8 on top of that: {bits}, **{bits.verdict}**. What the teacher mends is the pruning. "
    f"Against the network as it was all three together: {stored.difference('units pruned, teacher, int8')}."
)

# %% [markdown]
# Three arms are trained again now, with two seeds. The table sets their means beside the stored ones:

# %%
again = study.run("units pruned, labels", "units pruned, teacher", "small, teacher", seeds=2)
beside = stored.beside(again, within=2.5)  # processors round differently
beside

# %% [markdown]
# ### From which weights should the repair start? Rewinding
#
# A network has been trained and its smallest weights are gone. Training goes on with the mask. From which weights, and with which
# learning rate? Let $W_k$ be the weights after $k$ steps of the first training, of $K$ steps in all, $M$ the mask that the magnitudes
# of $W_K$ give, and $\eta$ the learning rate. Weights and mask have one shape, (O, I) in each layer. The three answers:
#
# | | starts from | learning rate |
# |---|---|---|
# | *fine-tuning* | $M \odot W_K$ | small and constant in the papers; here a schedule with a lower peak |
# | *weight rewinding* (Frankle & Carbin 2019) | $M \odot W_k$, with $k = 0$ or early | the schedule of $\eta$ once more |
# | *learning-rate rewinding* (Renda et al. 2020) | $M \odot W_K$ | the schedule of $\eta$ once more |
#
# With $k = 0$ the pruned network at its first weights is a *lottery ticket*: the claim is that its mask and its first weights belong
# together. The control keeps the mask and takes other first weights.
#
# This needs the network's first training, so a small one is trained here: two hidden layers of 128 units, 5,000 labelled pictures, 400
# steps. Then 95 % of its weights go at once (the papers prune in several rounds), and each arm trains for 400 steps. The learning rate
# of fine-tuning is the best of three on validation data, with a seed that the table does not use. Five seeds, stored. The baseline,
# with which each arm is compared, is fine-tuning.
#
# **Predict**: which one does validation choose?

# %%
from_where = kd.predict(
    "12.rewinding",
    "95 % of the weights are gone and 400 steps are left. What is best on validation data?",
    options=["fine-tuning", "rewinding the weights", "rewinding the learning rate"],
)
from_where

# %%
rewinding = kd.study("12-rewinding", data).stored()
rewinding.table()

# %%
ways_back = {
    "fine-tuned": "fine-tuning",
    "weights rewound, a tenth": "rewinding the weights",
    "weights rewound, start": "rewinding the weights",
    "learning rate rewound": "rewinding the learning rate",
}
winner = rewinding.best(among=list(ways_back))
control = "the mask, other weights"
drawn = rewinding.only(*list(ways_back)[1:], control, "not pruned, trained on")
from_where.answer(ways_back[winner], on=drawn.figure())

# %%
rate = rewinding.difference("learning rate rewound")
weights_too = rewinding.difference("learning rate rewound", "weights rewound, a tenth")
luck = rewinding.difference("weights rewound, start", control)
whole_network = rewinding.difference("learning rate rewound", "not pruned, trained on")
kd.say(
    f"Rewinding the learning rate against fine-tuning: {rate}, **{rate.verdict}**. Against rewinding the weights as well, to a tenth of the steps: {weights_too}, "
    f"**{weights_too.verdict}**. The ticket's own first weights against others under the same mask: {luck}, **{luck.verdict}**. And against the network that kept "
    f"all its weights and trained as long: {whole_network}, **{whole_network.verdict}**."
)

# %% [markdown]
# ### Two bits: training with the rounding, with and without a teacher
#
# Can a network learn to live with its rounding? Then the rounding has to be there while it learns. The network computes with the
# rounded weights $\hat W$, and training moves the weights $W$ behind them, which stay in 32 bits:
#
# $$\hat W_{ri} = s_r \cdot \mathrm{clamp}\big(\mathrm{round}(W_{ri} / s_r),\, -Q,\, Q\big)$$
#
# $$\frac{\partial L}{\partial W_{ri}} := \frac{\partial L}{\partial \hat W_{ri}}$$
#
# $L$ is the loss. $r$, $i$, $s$ and $Q$ are those of the better scales above: $r$ counts rows and $i$ columns, $s$ are the scales of
# the rows, of shape (O, 1), and $Q = 1$ for two bits. Rounding is a staircase, whose slope is 0 almost everywhere. The gradient
# therefore passes it as if it were not there, as the sign $:=$ says. That is a *straight-through estimator*. Training so with labels is
# *quantisation-aware training*. Its loss is $L_{\text{labels}}$ from the section on repair, with $z$ the logits of the network that
# computes with $\hat W$. The same with $L_{\text{teacher}}$ is *quantisation-aware distillation*: the network in 32 bits is the
# teacher, at $T = 2$, and no label is needed.
#
# Every arm that trains gets the same 5,000 pictures and 100 steps. Learning rates were chosen beforehand, by validation accuracy with a
# seed that nothing here uses; labels and the teacher have the same one. The rivals: better scales, which train nothing; and the same
# network trained as long with labels in all its bits, and rounded only then. (With the teacher that last arm would stay where it is: a
# network that is its own teacher has nothing to learn before it is rounded.)
#
# **Predict**: how much comes back, and is it the teacher or the training?

# %%
comes_back = kd.predict(
    "12.two-bits",
    "How many points does training with labels bring the network in two bits, with the best scales?",
    between=(0, 60),
    unit="points",
)
comes_back

# %% [markdown]
# The table holds each arm against the network as it was, over five seeds; in brackets the 95 % interval of the paired difference.

# %%
two_bits = kd.study("12-bits", data).stored()
two_bits.table()

# %%
LABELS, TEACHER = "2 bits, best scales, labels", "2 bits, best scales, teacher"
ROUNDED_LATER = "all bits, labels, then best scales"
trained = two_bits.only(
    "2 bits, labels", "2 bits, teacher", LABELS, TEACHER, "all bits, labels", ROUNDED_LATER
)
comes_back.answer(two_bits.difference(LABELS, "2 bits, best scales").mean, on=trained.figure())

# %%
scaling = two_bits.difference("2 bits, best scales", "2 bits")
plainly = two_bits.difference("2 bits, labels", "2 bits")
rival = two_bits.difference("2 bits, teacher", "2 bits, best scales")
training = two_bits.difference(LABELS, "2 bits, best scales")
kd.claim("Training on repairs what two bits broke", plainly, at_least=3)
kd.say(
    f"Plain rounding: training with labels brings it {plainly}. But better scales, which train nothing, bring {scaling.mean:+.1f} points. "
    f"Against those scales, training with a teacher and the plain scale has {rival}: **{rival.verdict}**. "
    f"The two can be had together: on top of the best scales, training with labels brings {training}, **{training.verdict}**."
)

# %%
teaching = {
    "the largest weight's scale": two_bits.difference("2 bits, teacher", "2 bits, labels"),
    "the best scales": two_bits.difference(TEACHER, LABELS),
}
left = two_bits.difference(TEACHER)
later = two_bits.difference(LABELS, ROUNDED_LATER)
labels_alone = two_bits.difference("all bits, labels")
kd.say(
    "The teacher in place of labels, same steps and pictures: "
    + "; ".join(f"with {name} {one}, **{one.verdict}**" for name, one in teaching.items())
    + f". Training with the rounding against training as long and rounding afterwards: {later}, **{later.verdict}**. "
    f"Two bits, best scales and the teacher are at {left} from the network as it was: **{left.verdict}**. Labels alone, without any "
    f"rounding, take that network {labels_alone}: **{labels_alone.verdict}**. "
    + (
        "Part of what looks like the price of the bits is the price of training on with 5,000 pictures."
        if labels_alone.high < 0
        else "These seeds see no cost in training on, so what is missing is the price of the bits."
    )
)

# %% [markdown]
# ## When it does not help: a student from nothing
#
# A distilled student may have any architecture. Here it has the pruned network's, and none of its weights. What does that cost?

# %%
inherited = stored.difference("units pruned, teacher", "small, teacher")
longer = stored.difference("small, teacher, budget × 4", "small, teacher")
patient = stored.difference("units pruned, teacher", "small, teacher, budget × 4")
kd.claim("Weights that are inherited beat first weights by chance, for one budget", inherited)
first_weights.answer(inherited.verdict)
kd.say(
    f"Four times the budget, on the same 5,000 pictures, brings the student from nothing {longer}: **{longer.verdict}**. The pruned "
    f"network then has {patient} against it: inheriting **{patient.verdict}**. Where the large network is yours and its architecture "
    "will do, prune and let it teach. Distil from nothing where you need another architecture, or have been given answers and "
    "no weights."
)

# %% [markdown]
# ## Leave PyTorch
#
# Where a network ends up there is often no PyTorch. How does it get there? `torch.export` catches its operations as a graph, and
# `torch.onnx.export` writes that graph as a file that other programs can read. What has to be checked is that both give the same answers:
#
# $$\delta = \max_{n,c} |z^{\text{outside}}_{nc} - z^{\text{PyTorch}}_{nc}|$$
#
# $z$ are the logits, of shape (N, C), for the same N pictures, outside and in PyTorch; $\delta$ is the largest difference of any of
# them. The list below is the graph: one operation a line.

# %%
repaired = again.students["units pruned, teacher"][0]
steps = kd.export.graph(repaired, data.test).graph.nodes
print("\n".join(str(step.target) for step in steps if step.op == "call_function"))

# %%
folder = Path(tempfile.mkdtemp())
file = kd.export.to_onnx(repaired, data.test, folder / "repaired.onnx")
np.save(folder / "images.npy", data.test.images[:1000].numpy())

outside = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession("repaired.onnx")
logits = session.run(["logits"], {"images": numpy.load("images.npy")})[0]
numpy.save("logits.npy", logits)
print("Answered for", len(logits), "pictures. PyTorch loaded:", "torch" in sys.modules)
"""
done = subprocess.run(
    [sys.executable, "-c", outside], cwd=folder, capture_output=True, text=True, check=True
)
print(done.stdout.strip())

# %%
theirs = torch.from_numpy(np.load(folder / "logits.npy"))
ours = kd.measure.predict(repaired, data.test)[:1000]
largest = (theirs - ours).abs().max().item()
assert largest < 1e-4 and "PyTorch loaded: False" in done.stdout
kd.say(
    f"Another process, without PyTorch, gives the same answers: the largest difference of any logit is {largest:.0e}."
)

# %% [markdown]
# ## Draw the front
#
# Which candidates are worth their time? Those that no other beats: a candidate is on the *front* (the Pareto front of lab 10)
# when no other is at most as slow, at least as accurate, and strictly better in one of the two.
#
# $$\text{candidate } i \text{ is on the front} \;\;\iff\;\; \text{there is no } j \text{ with } c_j \le c_i,\; a_j \ge a_i, \text{ and } (c_j < c_i \text{ or } a_j > a_i)$$
#
# $c_i$ is the latency of candidate $i$ in milliseconds and $a_i$ its validation accuracy in percent. (Of several that tie in both, one
# is kept.)
#
# All candidates run in one runtime, so that only the networks differ: the network; three pruned copies of it that keep 1/2, 1/4 and 1/8
# of its units, each repaired by its teacher; and the student from nothing, which has the shape of the smallest copy. Each stands there
# in 32 bits and in 8, for which ONNX Runtime has kernels. Two of them are baselines, ringed in the figure: the network as it was, and
# the student from nothing.
#
# This is a *grid of shapes*: somebody wrote down ten candidates and all of them are measured. No algorithm searched. *Neural
# architecture search* would propose shapes by itself, score each after a short training, and propose the next from those scores, as lab
# 10 does with temperature and alpha.
#
# **Predict**: which are worth their time?

# %%
worth_it = kd.predict(
    "12.front",
    "Ten candidates. For how many is no other at most as slow for 64 pictures, at least as good on validation data, and better in one?",
    between=(0, 10),
)
worth_it

# %%
cache = kd.TeacherCache(network)
models = {"whole": network, "1/8, from nothing": again.students["small, teacher"][0]}
for kept in (1 / 2, 1 / 4):
    student = lab.start_from(network, kd.compression.prune_units, 1 - kept)
    models[f"1/{1 / kept:g} kept"] = lab.by_teacher(data, student, cache).run(0)
models["1/8 kept"] = repaired

candidates = {}
for number, (name, model) in enumerate(models.items()):
    whole_file = kd.export.to_onnx(model, data.test, folder / f"{number}.onnx")
    int8_file = kd.export.int8_onnx(whole_file, folder / f"{number}-int8.onnx")
    candidates[name] = kd.export.OnnxModel(whole_file)
    candidates[f"{name}, int8"] = kd.export.OnnxModel(int8_file)

measured = kd.costs.table(candidates, data.test)
measured.drop(columns="MFLOPs")

# %% [markdown]
# Two of these have one and the same shape, 1/8 kept and 1/8 from nothing. How far their times differ is how far to trust a time.
#
# Choose on validation data; the test column above is for the report. In the figure the fast candidates are on the left and the
# accurate ones at the top. It names the candidates on the front, and the two baselines.

# %%
scores = [kd.measure.accuracy(model, data.validation) for model in candidates.values()]


def front(pictures):
    waits = measured[f"ms for {pictures}"].to_numpy()
    return kd.plots.front(
        waits,
        scores,
        list(candidates),
        kd.tuning.front(waits, scores),
        xlabel=f"ms for {pictures} in ONNX Runtime",
        ylabel="validation accuracy, %",
        baselines=[list(candidates).index(name) for name in ("whole", "1/8, from nothing")],
    )


# %%
fronts = kd.widgets.live(
    front, pictures=widgets.ToggleButtons(options=[1, 64], description="pictures")
)
fronts

# %% tags=["widget-test"]
with fronts.restored():
    for pictures in (1, 64, 1):
        fronts.move(pictures=pictures)
        assert (
            f"ms for {pictures} in ONNX Runtime of {len(candidates)} candidates"
            in fronts.description
        )

# %%
runs, size = measured["ms for 64"], measured["kB"]
worth_it.answer(len(kd.tuning.front(runs.to_numpy(), scores)))
assert runs["1/8 kept"] < runs["whole"] / 2
kd.say(
    f"On 64 pictures int8 is **{pace(runs['whole'], runs['whole, int8'])}** here, by kernels made for it; keeping one unit in eight is "
    f"**{pace(runs['whole'], runs['1/8 kept'])}**, and both together {pace(runs['whole'], runs['1/8 kept, int8'])}. {size['whole']:,} kB have become "
    f"{size['1/8 kept, int8']:,} kB."
)

# %% [markdown]
# ### Lab 00's table, measured
#
# The table has a row for each way, in PyTorch. Compare each column with the first row. A dash stands for what cannot be read here, such
# as energy where the processor shows no meter.

# %%
ways = {
    "as it was": network,
    "distillation": models["1/8, from nothing"],
    "pruning weights": kd.compression.remove_masks(kd.compression.prune(network, lab.WEIGHTS)),
    "pruning units": kd.compression.prune_units(network, lab.UNITS),
    "pruning units + its teacher": repaired,
    "quantisation": coarse["int8, activations too"],
}
by_way = kd.costs.table(ways, data.test)
by_way

# %% [markdown]
# Fine-tuning has the first row's costs, to the byte.
#
# ### When to choose which
#
# The table puts the lab into words. Its numbers and verdicts are computed from what was measured above, on this network and this
# processor. What speaks of two bits is from the stored five seeds.

# %%
kb, wait = by_way["kB"], by_way["ms for 64"]


def cheaper(way):
    return f"bytes divided by {kb['as it was'] / kb[way]:.1f}, time by {wait['as it was'] / wait[way]:.1f}"


# %%
two_bit_teacher = teaching["the best scales"].verdict
by_onnx = runs["whole"] / runs["whole, int8"]
eight = stored.difference("int8").mean
kd.say(
    "| way | makes smaller | needs | take it |\n|---|---|---|---|\n"
    f"| 8 bits | {cheaper('quantisation')} in plain PyTorch and {by_onnx:.1f} in ONNX Runtime | a kernel for 8 bits; no data "
    f"| first, and measured: here it changes the accuracy by {eight:+.1f} points |\n"
    "| 2 bits | 16 times fewer bits a weight; no time here, for want of a kernel | the best scales, no data; then training with the rounding: "
    f"**{training.verdict}** (a teacher in place of labels: **{two_bit_teacher}**) | when memory decides and the target has such a kernel |\n"
    f"| zeros, unstructured | {cheaper('pruning weights')} | training afterwards; a kernel or a file format for zeros "
    "| when files are sent compressed, or many zeros meet such a kernel |\n"
    "| zeros, 2:4 | 36 bits in place of 64 for four 16-bit numbers; no time here | a GPU with sparse tensor cores | when it will run on one |\n"
    f"| fewer units | {cheaper('pruning units + its teacher')} | pictures, with labels or without: its teacher in place of labels: **{by_teacher.verdict}** "
    "| when time decides, the network is yours and its architecture will do |\n"
    "| rewinding | nothing by itself: it repairs what pruning broke | the first training's schedule; against fine-tuning, the learning rate rewound: "
    f"**{rate.verdict}** | after any pruning, when there are steps to spend |\n"
    f"| distillation from nothing | {cheaper('distillation')} | more steps or pictures; inheriting weights instead: **{inherited.verdict}** "
    "| when you need another architecture, or have only answers |\n"
    f"| fine-tuning | nothing | labels of the new task | when the task has changed; on the old one: **{lost.verdict}** |"
)

# %% [markdown]
# ### Beside the published figures
#
# | what | figure | source |
# |---|---|---|
# | weights of AlexNet that stay, no loss of accuracy | 1 in 9 | Han et al. 2015 |
# | pruned shapes trained from nothing, with enough epochs | as good as pruned and fine-tuned | Liu et al. 2019 |
#
# Liu and colleagues gave the network from nothing a full training on all labelled pictures; here it has 5,000 and a short budget.
#
# ## Recap
#
# - Distillation changes the architecture, pruning the shape, quantisation the numbers, fine-tuning the task.
# - Zeros save nothing in a dense kernel; units that are gone do. Bytes fall by four in int8; time only where the kernel is made for it.
# - Before you train to repair few bits, try better scales, which train nothing.
# - The large network is a teacher for what was cut out of it, and needs no labels for that. Where no accuracy was lost,
#   there is nothing to repair.
# - Export, then compare logits outside PyTorch, and measure where it will run.
#
# ### Check yourself

# %%
quiz = kd.quiz("12")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Turned pictures without labels: let the network's answers to the pictures of before teach a copy that sees them turned.
# - Three bits: `kd.compression.round_weights(network, 3, scales="best")`. How much is left for the teacher to repair?
# - Prune in three small cuts with 100 steps after each, in place of one cut with 300.
#
# **At full size** (a GPU): all labelled pictures and eight times the steps, nearer to the full training that Liu et al. (2019)
# give the network from nothing. Only here are the pictures loaded onto the GPU. You could also try `torch.compile` before the
# stopwatch, `kd.zoo.teacher("convnet", data)`, and filters in place of units.

# %%
everything = kd.load_images()
compressed = kd.study("12-compression", everything).recipes
compared = ("small, labels", "small, teacher", "units pruned, labels", "units pruned, teacher")
full = kd.at_full_size(
    {name: compressed[name] for name in compared},
    everything,
    seeds=3,
    train=everything.train,
    steps=2400,
    batch_size=256,
)

# %% [markdown]
# ### Read further
#
# - Han, Pool, Tran, Dally (2015), *Learning both Weights and Connections for Efficient Neural Networks*.
# - Li et al. (2017), *Pruning Filters for Efficient ConvNets*.
# - Jacob et al. (2018), *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference*.
# - Bengio, Léonard, Courville (2013), *Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation*.
# - Liu et al. (2019), *Rethinking the Value of Network Pruning*.
# - Frankle, Carbin (2019), *The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks*.
# - Renda, Frankle, Carbin (2020), *Comparing Rewinding and Fine-tuning in Neural Network Pruning*.
# - Mishra et al. (2021), *Accelerating Sparse Deep Neural Networks*.
# - Hwang, Sung (2014), *Fixed-point Feedforward Deep Neural Network Design Using Weights +1, 0, and −1*.
# - Polino, Pascanu, Alistarh (2018), *Model compression via distillation and quantization*.
