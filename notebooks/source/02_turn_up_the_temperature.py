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
# # Turn up the temperature
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/kdcourse/kdcourse/blob/main/notebooks/02_turn_up_the_temperature.ipynb)
#
# A good teacher is nearly certain, and a certain teacher says little. The temperature makes it speak up. In this lab you write
# the softmax with temperature, drag it from freezing to boiling, find out where the famous T² comes from, and measure which
# temperature serves which student.
#
# **You will** write three short functions, move one slider a lot, and train small and large students at five temperatures.
# **You will learn** what T does to probabilities, entropy and gradients, and why the loss carries T².
# **You need** lab 01. **Time:** 45 minutes of yours; the machine needs about a minute in all.

# %% tags=["setup"]
import sys

if "google.colab" in sys.modules:
    # %pip install --quiet --no-deps "git+https://github.com/kdcourse/kdcourse@v0.1.0"
    pass
import kdcourse as kd

kd.setup()

# %%
from dataclasses import replace
from functools import partial

import torch
from torch.nn import functional as F

data = kd.load_images()
teacher = kd.zoo.teacher("perceptron", data)
cache = kd.TeacherCache(teacher)
teacher_logits = cache.logits(data.test)

# %%
certainty = teacher_logits.softmax(dim=1).max(dim=1).values
kd.say(
    f"On {100 * (certainty > 0.99).float().mean():.0f} % of the test pictures this teacher gives its answer more than 99 %. "
    f"The other {len(data.classes) - 1} classes share what is left: the knowledge is there, but in the third decimal."
)

# %% [markdown]
# ## Soften the softmax
#
# $$p_c(T) = \frac{\exp(z_c / T)}{\sum_k \exp(z_k / T)}$$
#
# T = 1 is the softmax you know. **Predict**: what does the distribution become as T → 0, and as T → ∞?

# %%
kd.exercise("02.softmax_with_temperature")


# %% tags=["exercise"] exercise="02.softmax_with_temperature"
def softmax_with_temperature(logits, temperature):
    """(N, C) -> probabilities (N, C); must not overflow for logits of 1,000."""
    ...  # your code


# %%
softmax_with_temperature = kd.exercise("02.softmax_with_temperature").check(softmax_with_temperature)

# %%
kd.exercise("02.entropy")


# %% tags=["exercise"] exercise="02.entropy"
def entropy(probabilities):
    """(N, C) -> (N,) in nats; a probability of zero adds nothing."""
    ...  # your code


# %%
entropy = kd.exercise("02.entropy").check(entropy)

# %% [markdown]
# ## Drag it yourself
#
# Six pictures about which the teacher hesitates. Watch four things: the order of the bars never changes; the entropy only
# grows; at the cold end one bar takes all; at the hot end they all become equal.

# %%
hesitant = certainty.argsort()[:6]
explorer = kd.widgets.temperature_explorer(
    data.pictures(data.test.images[hesitant]), teacher_logits[hesitant], data.classes, data.test.labels[hesitant]
)
explorer

# %% tags=["widget-test"]
for temperature in (0.1, 4, 100):
    explorer.move(temperature=temperature)
    nats = entropy(softmax_with_temperature(teacher_logits[hesitant[:1]], temperature)).item()
    assert f"{nats:.2f}" in explorer.description
