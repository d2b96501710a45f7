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
# A teacher's last layer says what it thinks. The layers before say how it came to think so. Six things inside a network can be
# matched; in this lab you look at them first, write the losses by hand, and then see what each is worth, alone and with plain KD.
#
# **You will** tap layers of a network that knows nothing of taps, compare what two networks see, and match it in eight ways.
# **You will learn** which layer to match, what a regressor is for, and when features cost more than they bring.
# **You need** lab 03. **Time:** 85 minutes of yours; the machine needs about a minute and a quarter in all.

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
# Teacher and student are convolutional networks with four stages each. The student is far smaller, and learns from 1,000
# labelled pictures. We train it once, on labels only, so that there is something to look at.

# %%
methods = kd.study("04-methods", data)
labels_only = methods.recipes["labels only"]
student = labels_only.run(seed=0)

kd.measure.summary({"teacher": teacher, "student": student}, data.test)

# %% [markdown]
# A network's layers have names, and any of them can be tapped: its output comes back beside the logits. Nothing in the model
# is rewritten; `torch.fx` traces it and adds the taps, so this works for every torchvision model too.

# %%
kd.tapping.layers(student)

# %% [markdown]
# Papers' code mostly uses PyTorch's own way, a *forward hook*: a function that a layer calls at every run, with what went in and what
# came out. Two things go wrong with it. What follows may write over the output in place, and a hook that is left behind goes on.

# %%
kd.exercise("04.feature_hook")


# %% tags=["exercise"] exercise="04.feature_hook"
def feature_hook(model, name, images):
    """Run the model on images (N, C, H, W) -> what the layer of this name gave out, with its gradient."""
    ...  # your code


# %%
feature_hook = kd.exercise("04.feature_hook").check(feature_hook)

# %% [markdown]
# The student's maps come from your hook, the teacher's from the taps. On the student both give the same:

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
# Two layers with different numbers of channels cannot be subtracted. *Centred kernel alignment* (Kornblith et al. 2019) asks another
# question: do they find the same pictures alike? It is 1 when they do, whatever the channels, scale or rotation.
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
# Choose a layer of each network, with the sliders or by a click on the table, and a picture. Beside the table stand both layers' maps of
# it: first the *attention*, the mean of all channels squared, then the strongest channels. Which of the teacher's layers is most like
# each of the student's, and do the two look at the same places?

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
# ## Write attention transfer by hand
#
# $$q = \frac{\mathrm{vec}\big(\frac1C\sum_c f_c^2\big)}{\big\|\mathrm{vec}\big(\frac1C\sum_c f_c^2\big)\big\|_2} \qquad L = \mathrm{mean}\,(q_{\text{student}} - q_{\text{teacher}})^2$$
#
# Channels are summed away, so 16 can learn from 64.

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
# ## Bridge the channels with a regressor
#
# FitNets wants the teacher's maps themselves. A 1×1 convolution, the *regressor*, guesses the teacher's 256 channels from the
# student's 32. It is thrown away after training; while training it must learn, or the student imitates a random projection.

# %%
kd.exercise("04.hint")


# %% tags=["exercise"] exercise="04.hint"
def hint(student_features, teacher_features, regressor):
    """Maps (N, Cs, H, W), (N, Ct, H, W), a module from Cs to Ct channels -> scalar; no gradient into the teacher."""
    ...  # your code


# %%
hint = kd.exercise("04.hint").check(hint)

# %% [markdown]
# The loss reaches the regressor's weights. It takes an optimiser that knows them to move them.

# %%
kd.exercise("04.parameters_to_train")


# %% tags=["exercise"] exercise="04.parameters_to_train"
def parameters_to_train(student, teacher, helpers):
    """Modules, and a list of modules -> the parameters that the optimiser must see."""
    ...  # your code


# %%
parameters_to_train = kd.exercise("04.parameters_to_train").check(parameters_to_train)

# %% [markdown]
# In the course's loop a method makes its regressor when it first sees the shapes, and hands its parameters to the optimiser
# itself. Watch what it learnt beside the student: how much of the teacher's last stage can be guessed from the student's? Your hook and
# your loss measure it.

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
explained = 1 - missed / (theirs - theirs.mean(0)).square().mean()
kd.say(
    f"After 200 steps the regressor explains **{explained:.0%}** of the teacher's last stage. (0 % is what a constant would explain; "
    "less than that means that the regressor does not hold on pictures which it has not seen.)"
)

# %% [markdown]
# ## Match which neurons fire
#
# A ReLU network cuts its input space along *activation boundaries*. Heo et al. (2019) transfer those alone: not how strongly a neuron
# fires, only whether. The loss works before the ReLU, on the layer `stage4.1`.

# %%
kd.exercise("04.activation_boundary")


# %% tags=["exercise"] exercise="04.activation_boundary"
def activation_boundary(student_pre, teacher_pre, margin):
    """Pre-activations of one shape -> scalar; no gradient may reach the teacher."""
    ...  # your code


# %%
activation_boundary = kd.exercise("04.activation_boundary").check(activation_boundary)

# %% [markdown]
# ## Match what moves the answer
#
# The *Jacobian* says how the true class's logit reacts to each pixel. Matching it means differentiating a gradient.

# %%
kd.exercise("04.input_gradient")


# %% tags=["exercise"] exercise="04.input_gradient"
def input_gradient(logits, inputs, labels):
    """Logits (N, C), the inputs (N, ...) they were computed from, labels (N,) -> (N, D), rows of length 1."""
    ...  # your code


# %%
input_gradient = kd.exercise("04.input_gradient").check(input_gradient)

# %% [markdown]
# Where does a network look when it decides on a picture? **Predict**: how alike are the two networks' reactions to the same picture, as
# the cosine between them? It is 1 where the same pixels move both, and 0 where no pixel does.

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
# ## Which layer should be matched?
#
# An experiment that outgrows this lab's minute, so it was run once with five seeds and is stored (`kdcourse results 04` repeats
# it). The same hint at each of the four stages; student, pictures, weight and budget are the same.

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
# ## Measure: each method, alone and with plain KD
#
# Eight methods, each with the labels alone and on top of plain KD (T = 4, alpha = 0.9): the same 1,000 pictures and 600 steps, five paired
# seeds. Each method has a weight, and a wrong one can make any method look useless. So each got the best of five or six on
# Fashion-MNIST's validation data, with three other seeds than those that are ranked; glyphs get the same. Stored, too. Where the best
# weight is the smallest or the largest that was tried, a better one may lie beyond: the method may be worth more than its row says.

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

# %%
stored = methods.stored()
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
# Eight intervals in each table: at 95 %, one of twenty that hold nothing looks clear by luck. The column *Holm* (1979) corrects for the number
# of questions; what it still calls *helps* we believe. The cheapest rival of all eight stands in the first row of the second table: plain KD,
# which asks the teacher once and looks into no layer.

# %% [markdown]
# Is the store honest? Run a part of it again, here and now, and set the two side by side.

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
    f"Alone, {len(helping)} of {len(alone) - 1} methods are clear of labels only after Holm's correction: {', '.join(helping)}. "
    f"Plain KD brings {stored.difference('KD')}. On top of plain KD, {len(beyond)} of {len(with_kd) - 1} are: "
    f"{', '.join(one.removeprefix('KD + ') for one in beyond) or 'none'}."
)

# %% [markdown]
# ### What a gradient is worth, and what it costs
#
# A label is one number, logits are ten. A Jacobian has one number for every pixel: what the answer would be for all the pictures
# nearby, which the student never sees. Where pictures are few, that can be worth a lot. It is paid for in time: nothing can be cached,
# and both networks are differentiated at each step. How much slower is a step?

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
beyond_kd = stored.difference("Jacobian", "KD")
kd.say(
    f"Jacobian matching with labels against plain KD: {beyond_kd} (**{beyond_kd.verdict}**), in "
    "the same number of "
    f"steps. A step takes **{seconds['Jacobian'] / seconds['KD']:.0f}** times as long."
)

# %% [markdown]
# The weight decides as much as the method does. At the smallest that was tried, this one would have looked useless:

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
# The setting differs: colour pictures of 100 classes, students that are short of capacity, not of labels, and a hundred times our
# budget. The pattern to look for: few methods beat plain KD by much, and between unlike networks some cost dearly.
#
# ## When it does not help: a student built differently
#
# The same teacher; the student is now a small MobileNet, whose convolutions see each channel alone and which shrinks its
# maps by stride. Both students get attention at three stages, once with the weight of 1000 a stage that the published comparison
# uses for every pair, once with the best of five on validation data, chosen for each student; and a hint at the last stage.
#
# (An earlier run, with a third of the published weight, hurt clearly on glyphs only. This one has seeds that it had not.)
#
# **Predict**: how many of the three survive the change of architecture?

# %%
survivors = kd.predict(
    "04.survivors",
    "Attention with either weight, and the hint: how many of the three help the student built differently?",
    options=["none of them", "one of them", "two of them", "all three"],
)
survivors

# %%
like = kd.study("04-same-architecture", data).stored()
unlike = kd.study("04-other-architecture", data).stored()
like.figure()

# %%
published, tuned = "attention, published weight", "attention, weight by validation"
verdicts = [unlike.difference(arm).verdict for arm in (published, tuned, "hint, stage 4")]
survivors.answer(survivors.options[verdicts.count("helps")], on=unlike.figure())

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
    f"the other one. Does it cost the unlike student more? The difference of the two is {apart}: **{apart.verdict}**. We once answered yes "
    "from two verdicts side by side; the third column is what that answer needs, and it is not the same on all data. A weight that was chosen "
    f"for each student beats the borrowed one by {like.difference(tuned, published)} and {unlike.difference(tuned, published)}: a weight is no "
    "property of a method."
)

# %% [markdown]
# ## Recap
#
# - Any layer can be tapped; a regressor, or a loss without channels, bridges different widths.
# - What learns beside the student (regressors, variances) belongs into the optimiser.
# - Where labels are few, several feature methods beat labels alone. Few beat plain KD, which is cheaper than all of them.
# - Many intervals at once need a correction, and *more than* needs an interval of its own.
# - A method has a weight, and a verdict on the method is a verdict on its weight. Choose it on validation data.
# - A borrowed weight can cost any student. When in doubt, match late layers, or logits.
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
# **At full size** (a GPU): on all pictures the four columns of the table of Tian, Krishnan, Isola (2020). Theirs have 240 epochs; here
# they are about ten. All of `methods.recipes` take a GPU longer.

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
