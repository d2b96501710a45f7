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
# # Distil BERT for sentiment
#
# Is a review praise or blame? A *BERT* can tell: a transformer that reads a whole sentence at once, and has first been trained to
# guess hidden words. A shop with a million reviews a day would like a smaller one. Here the teacher is a small BERT, itself the
# student of a larger one; yours has less than a fifth of its parameters.
#
# **You will** look at tokens and at what a teacher thinks of half-hearted sentences, write the trainer's loss, and distil on
# `transformers`' own `Trainer`. **You will learn** when sentences without labels are worth more than labels, which rivals a small BERT
# must beat, and what happens when the reviews are suddenly about something else.
# **You need** lab 03. **Time:** 70 minutes of yours; the machine needs about two minutes in all.

# %% tags=["setup"]
import kdcourse as kd

kd.setup()

# %%
kd.need("transformers")  # says how to get it, where it is missing

import math
import tempfile
from contextlib import redirect_stdout
from functools import partial

import ipywidgets as widgets
import pandas as pd
import torch
import transformers
from torch.nn import functional as F

pd.set_option("display.max_colwidth", None)  # a table shows its sentences whole
data = kd.load_texts()
teacher = kd.zoo.sentiment_teacher()

# %% [markdown]
# ## From words to numbers
#
# A *WordPiece* tokenizer knows a few thousand pieces. Frequent words are one piece, others fall into several (`##` marks a piece that
# goes on). `[CLS]` opens each sentence; what the network makes of it becomes the answer.
#
# SST-2's sentences are from film reviews that people wrote. The course's *built-in reviews*, which need no network, are sentences written
# by a small grammar: what a student makes of them says little about people's sentences.
#
# The list of a tokenizer's pieces is its *vocabulary*. With another vocabulary the same sentence falls into other tokens with
# other numbers. Two such networks cannot be matched token by token. But each can read the whole sentence through its own
# tokenizer, and then their answers, one row of logits for a sentence, can be compared. The teacher here was itself taught in that
# way, by a BERT with another vocabulary.

# %%
sentence = "the plot is anything but predictable , but the dialogue is hopelessly wooden ."
tokens = teacher.tokenizer.convert_ids_to_tokens(teacher.encode([sentence])[0]["input_ids"])
" ".join(tokens)

# %%
pd.DataFrame(
    {
        "sentence": data.train.texts[:6],
        "label": [data.classes[y] for y in data.train.labels[:6]],
    }
)

# %% [markdown]
# ## Hear what the teacher thinks of a half-hearted sentence
#
# A label says *negative*. The teacher says how negative, and that is what the student learns.
#
# **Predict**: which of these four is it least sure of?

# %%
sentences = [
    "a wonderful film .",
    "the film is not bad .",
    "the film is long .",
    "although the plot is dull , the ending is wonderful .",
]
least_sure = kd.predict(
    "09.least-sure", "Of which is the teacher least sure?", options=sentences
)
least_sure

# %%
logits = teacher.predict(sentences)


def soften(temperature):
    rows = dict(zip(sentences, torch.softmax(logits / temperature, dim=1), strict=True))
    return kd.plots.distributions(rows, data.classes)


# %%
softened = kd.widgets.live(
    soften,
    temperature=widgets.FloatLogSlider(
        1.0, base=10, min=-1, max=1.3, step=0.05, description="temperature"
    ),
)
softened

# %% tags=["widget-test"]
with softened.restored():
    for temperature in (0.1, 4.0, 10**1.3):
        softened.move(temperature=temperature)
        assert sentences[0] in softened.description

# %%
surest = logits.softmax(dim=1).amax(dim=1)
least_sure.answer(sentences[surest.argmin().item()])

# %% [markdown]
# ## Write the trainer's loss
#
# `transformers` has a training loop of its own, the `Trainer`. All that distillation needs is another `compute_loss`. It mixes two
# losses, one of the teacher's answers and one of the labels:
#
# $$L = \alpha\, T^2\, \frac1N \sum_{n=1}^{N} \sum_{c=1}^{C} p_{nc} \log\frac{p_{nc}}{q_{nc}} \; - \; (1-\alpha)\, \frac1N \sum_{n=1}^{N} \log \mathrm{softmax}(z_n)_{y_n}$$
#
# $z$ are the student's *logits*, the numbers before the softmax, of shape $(N, C)$: $N$ sentences of the mini-batch, $C = 2$ classes. $v$
# are the teacher's, of the same shape. $p = \mathrm{softmax}(v/T)$ and $q = \mathrm{softmax}(z/T)$ are the two networks' probabilities,
# softened by the *temperature* $T$: the higher, the more even. $y_n$ is the label of sentence $n$. $T^2$ keeps the first part's gradient of one
# size at all temperatures. $\alpha$, from 0 to 1, is **the teacher's share** here; the Transformers cookbook has a trainer of the same name,
# in which alpha is the labels' share.

# %%
kd.exercise("09.compute_loss")


# %% tags=["exercise"] exercise="09.compute_loss"
def compute_loss(student_logits, teacher_logits, labels, temperature, alpha):
    """Logits (N, 2), labels (N,) -> scalar; alpha = 1 is the teacher alone."""
    ...  # your code


# %%
compute_loss = kd.exercise("09.compute_loss").check(compute_loss)

# %% [markdown]
# ### Match hidden states
#
# Can a student learn from what a teacher thinks on the way to its answer? DistilBERT also turns the student's *hidden states*, the vectors
# that a layer passes on, into the directions of the teacher's. Sentences have different lengths; the shorter ones of a batch are padded,
# and padding must not count:
#
# $$L_{\cos} = \frac{1}{\sum_{n,l} m_{nl}} \sum_{n=1}^{N} \sum_{l=1}^{L} m_{nl} \left(1 - \frac{h_{nl} \cdot g_{nl}}{\|h_{nl}\|\,\|g_{nl}\|}\right)$$
#
# $h$ are the student's hidden states after one layer, of shape $(N, L, D)$: $L$ tokens a sentence, a vector of $D$ numbers each.
# $g$ are the teacher's. $m_{nl}$ is 1 where token $l$ of sentence $n$ is real and 0 where it is padding. The dot is the inner
# product of two vectors. Where the two widths differ, the course's trainer learns a linear map from the student's to the
# teacher's beside the student.

# %%
kd.exercise("09.hidden_cosine")


# %% tags=["exercise"] exercise="09.hidden_cosine"
def hidden_cosine(student_states, teacher_states, mask):
    """States (N, L, D), mask (N, L), 1 where a token is real -> scalar; the teacher's states are constants."""
    ...  # your code


# %%
hidden_cosine = kd.exercise("09.hidden_cosine").check(hidden_cosine)

# %%
kd.exercise("09.layer_map")


# %% tags=["exercise"] exercise="09.layer_map"
def layer_map(student_layers, teacher_layers):
    """How many layers each has -> for each of the student's, the number of the teacher's that it learns from."""
    ...  # your code


# %%
layer_map = kd.exercise("09.layer_map").check(layer_map)

# %% [markdown]
# ### Find the mistake
#
# Now the method that `Trainer` calls at every step. It hands over the model and a batch, a dict of tensors; it says how many items a step has
# in all, `num_items_in_batch`; and while it evaluates it wants the outputs too. Many trainers of distillation in use look like this one, whose two
# faults are those of the Transformers cookbook's class:
#
# ```python
# def compute_loss(self, model, inputs, return_outputs=False):
#     outputs, T = model(**inputs), self.args.temperature
#     with torch.no_grad():
#         told = self.teacher(**inputs).logits
#     log_q = F.log_softmax(outputs.logits / T, dim=-1)
#     p = F.softmax(told / T, dim=-1)
#     soft = F.kl_div(log_q, p, reduction="batchmean") * T**2
#     alpha = self.args.alpha
#     loss = alpha * outputs.loss + (1 - alpha) * soft
#     return (loss, outputs) if return_outputs else loss
# ```
#
# One fault stops today's Trainer at its first step: the class was written before the Trainer counted items. The other raises no
# error and gives the wrong loss the weight: with `alpha=0.9` this lab means nine tenths for the teacher. Find both, and write the
# method without them.

# %%
kd.exercise("09.trainer_loss")


# %% tags=["exercise"] exercise="09.trainer_loss"
def trainer_loss(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
    """inputs: input_ids, attention_mask, labels. trainer has teacher and args.temperature, args.alpha -> loss, or (loss, outputs)."""
    ...  # your code


# %%
trainer_loss = kd.exercise("09.trainer_loss").check(trainer_loss)

# %% [markdown]
# A trainer of your own: 40 steps on 640 sentences, with half the teacher's layers as the student. It evaluates, and it saves.


# %%
class MyTrainer(transformers.Trainer):
    compute_loss = trainer_loss


def rows(sentences):
    encoded = pupil.encode(sentences.texts, truncate=True)
    return [
        {**one, "labels": label}
        for one, label in zip(encoded, sentences.labels.tolist(), strict=True)
    ]


# %%
pupil = kd.models.every_second_layer(teacher)
arguments = kd.DistillationTrainingArguments(
    tempfile.mkdtemp(),
    temperature=2.0,
    alpha=0.9,
    report_to="none",
    max_steps=40,
    per_device_train_batch_size=16,
    learning_rate=1e-4,
    logging_steps=10,
    save_strategy="no",
    disable_tqdm=True,
    dataloader_pin_memory=False,
)
mine = MyTrainer(
    pupil.bert,
    arguments,
    train_dataset=rows(data.train.sample(640)),
    eval_dataset=rows(data.validation.sample(200)),
    data_collator=transformers.DataCollatorWithPadding(pupil.tokenizer),
)
mine.teacher = teacher.bert.to(arguments.device).eval()

# %%
transformers.utils.logging.disable_progress_bar()
with redirect_stdout(None):  # the Trainer prints each of its lines
    before, _, after = mine.evaluate(), mine.train(), mine.evaluate()
pupil.bert.cpu()
mine.save_model()
again = type(pupil.bert).from_pretrained(arguments.output_dir)
assert all(
    torch.equal(a, b)
    for a, b in zip(again.state_dict().values(), pupil.bert.state_dict().values(), strict=True)
)
kd.say(
    f"In 40 steps the loss on validation sentences goes from {before['eval_loss']:.3f} to **{after['eval_loss']:.3f}**; what was saved "
    "comes back with the same weights."
)

# %% [markdown]
# The course's `kd.DistillationTrainer` computes what you wrote. Hold the two against each other on one batch:

# %%
student = kd.models.bert(64, 2)
few = data.train.sample(16)
settings = kd.DistillationTrainingArguments(
    "distilled", temperature=2.0, alpha=0.9, report_to="none"
)
trainer = kd.DistillationTrainer(student.bert, teacher.bert, args=settings)

# %%
student.bert.eval()  # no dropout, or the two would differ by chance
labels = few.labels.to(settings.device)
batch = student.padded(student.encode(few.texts, truncate=True))
with torch.no_grad():
    its_loss = trainer.compute_loss(student.bert, {**batch, "labels": labels})
    answers = [model(few.texts, truncate=True) for model in (student, teacher)]
torch.testing.assert_close(its_loss, compute_loss(*answers, labels, 2.0, 0.9))

# %% [markdown]
# ### Watch the parts of the loss
#
# One number, the loss, hides which of its parts falls. `kd.DistillationTrainer` logs each beside it, without its weight: `soft_loss`,
# `hard_loss` and the inner losses that are asked for. `kd.finetune` is that trainer in one call; `history` is the Trainer's own
# `trainer.state.log_history`, one dictionary for each line of the log.
#
# Your trainer asks the teacher at every step. `kd.finetune` asks it once, before training, and keeps its logits: the teacher does
# not change, so the same sentence always gets the same answer. Hidden states are too large to keep; with an inner loss, as here,
# the teacher is asked at every step too.

# %%
watched = kd.finetune(
    kd.models.every_second_layer(teacher),
    data.train.sample(640),
    teacher=teacher,
    steps=40,
    batch_size=16,
    learning_rate=1e-4,
    alpha=0.9,
    temperature=2.0,
    hidden=1.0,
    validation=data.validation.sample(200),
    progress=False,
)

# %% [markdown]
# Each line is one part of the loss against the step, both axes logarithmic. Which one still falls at the end?

# %%
logged = [line for line in watched.history if "loss" in line]
parts = {
    name: [line[name] for line in logged] for name in ("soft_loss", "hard_loss", "hidden_loss")
}
kd.plots.lines([line["step"] for line in logged], parts, xlabel="step", ylabel="loss")

# %%
judged = [line["eval_accuracy"] for line in watched.history if "eval_accuracy" in line]
fallen = ", ".join(
    f"{name} from {values[0]:.3f} to {values[-1]:.3f}" for name, values in parts.items()
)
kd.say(
    f"{fallen}. On validation sentences the student has {judged[0]:.1f} % when first judged and {judged[-1]:.1f} % at the end."
)

# %% [markdown]
# ### What others match
#
# *TinyBERT* (Jiao et al. 2020) learns in **two stages**, each first from inside and then from answers: once on general text,
# before there is a task, and once more on the task's sentences. From here on $m$ counts the student's layers, and $t(m)$ is the
# teacher's layer that layer $m$ learns from. Layer 0 are the embeddings, the vectors of the tokens before the first layer; it has
# the first term only.
#
# $$L_{\text{layer}} = \frac{1}{N L D'} \| H_m W - H'_{t(m)} \|^2 + \frac{1}{h N L^2} \sum_{i=1}^{h} \| A_{m,i} - A'_{t(m),i} \|^2$$
#
# $$L_{\text{answers}} = - \frac1N \sum_{n,c} p_{nc} \log q_{nc}$$
#
# $H_m$ are the student's hidden states, of shape $(N, L, D)$, $H'$ the teacher's, $(N, L, D')$; $W$, of shape $(D, D')$, is
# learnt with the student, since widths differ. $A_{m,i}$, of shape $(N, L, L)$, are the *attention scores* of head $i$ of $h$
# before the softmax: how much each token looks at each. $\|\cdot\|^2$ is the sum of all squared entries. $p$ and $q$ are the
# probabilities from above. `attention=` in the course's trainer is the second sum, of probabilities after the softmax.
#
# *MiniLM* (Wang et al. 2020) asks: can the two have different numbers of layers, and different widths, without a map? It matches only the last
# layer's attention, and the **relations** among its *values* $V_i$, of shape $(N, L, D/h)$, the vectors that attention adds up:
#
# $$R_i = \mathrm{softmax}\left(\frac{V_i V_i^\top}{\sqrt{D/h}}\right)$$
#
# $$L = \frac{1}{h N L} \sum_{i=1}^{h} \left( \mathrm{KL}(A'_i \,\|\, A_i) + \mathrm{KL}(R'_i \,\|\, R_i) \right)$$
#
# $R_i$, of shape $(N, L, L)$, says how alike the values of each two tokens are, whatever their width; here $A_i$ are attention *probabilities*, and $\mathrm{KL}$ is
# summed over all rows. The heads must be as many on both sides. What carries a prime is the teacher's.
#
# ### Before there is a task: DistilBERT's triple loss
#
# All of this lab is **task-specific**: the teacher has learnt the task, and one student learns one task. DistilBERT itself is **task-agnostic**: it
# learns to guess *masked* words, 15 % of a text's tokens that are hidden, and is fine-tuned later, for any task. That costs days on much text, once
# for all tasks. Its loss is a sum of three:
#
# $$L = 5\, L_{\text{soft}} + 2\, L_{\text{mlm}} + 1\, L_{\cos}$$
#
# $L_{\text{soft}}$ is the loss of soft targets from above, $T^2$ and all, with the vocabulary's $V$ tokens as classes and here a
# row for each masked token, logits $(M, V)$ for $M$ of them; $L_{\text{mlm}}$ is the cross-entropy with the hidden words;
# $L_{\cos}$ is `hidden_cosine`. The weights 5, 2 and 1 are those of the authors' script. With alpha = 5/7 and hidden = 1/7 our
# trainer computes a seventh of $L$. DistilBERT matches the last layer, our trainer all. A teacher of masked words is soon made at
# toy size: the teacher's layers under a new head.


# %%
def with_words(classifier):
    """A classifier's layers under a head that guesses masked words: tokens (N, L) -> logits (N, L, V)."""
    network = transformers.BertForMaskedLM(classifier.bert.config)
    network.bert.load_state_dict(classifier.bert.bert.state_dict(), strict=False)
    return network


def masked(network, arguments, kind=transformers.Trainer, **more):
    """Train a network to guess hidden words; gives what was logged."""
    hide = transformers.DataCollatorForLanguageModeling(pupil.tokenizer, mlm_probability=0.15)
    texts = pupil.encode(data.train.sample(640).texts, truncate=True)
    training = kind(network, args=arguments, train_dataset=texts, data_collator=hide, **more)
    with redirect_stdout(None):
        training.train()
    return [line for line in training.state.log_history if "loss" in line]


# %%
short = dict(max_steps=40, per_device_train_batch_size=16, logging_steps=4, report_to="none")
short |= dict(save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False)
torch.manual_seed(0)
guessing = with_words(teacher)
guessed = masked(
    guessing, transformers.TrainingArguments(tempfile.mkdtemp(), learning_rate=1e-3, **short)
)

# %%
half_guessing = with_words(kd.models.every_second_layer(teacher))
half_guessing.cls.load_state_dict(guessing.cls.state_dict())
weights = {"alpha": 5 / 7, "hidden": 1 / 7, "temperature": 2.0, "learning_rate": 5e-4}
settings = kd.DistillationTrainingArguments(tempfile.mkdtemp(), **weights, **short)
triple = masked(half_guessing, settings, kd.DistillationTrainer, teacher=guessing)

# %% [markdown]
# The three parts of the triple loss, against the step. One seed and 40 steps: the figure shows the machinery, it gives no verdict.

# %%
three = {name: [line[name] for line in triple] for name in parts}
kd.plots.lines([line["step"] for line in triple], three, xlabel="step", ylabel="loss")

# %%
fallen = ", ".join(
    f"{name} from {values[0]:.2f} to {values[-1]:.2f}" for name, values in three.items()
)
kd.say(
    f"Of masked words: {fallen}. hard_loss is bounded by what the teacher knows of words: its own loss ended at "
    f"{guessed[-1]['loss']:.2f} after 40 steps; a guess that knows nothing has {math.log(guessing.config.vocab_size):.2f}."
)

# %% [markdown]
# ## Compare sizes before anything is trained
#
# The table has a row for each network: the teacher; every second of its layers, copied; and the small student of the measurement
# below, with fresh weights. Compare parameters and speed.

# %%
half = kd.models.every_second_layer(teacher)
models = {"teacher": teacher, "half the layers, copied": half, "student, untrained": student}
sizes = kd.measure.summary(models, data.test)
sizes

# %%
speed = {
    name: kd.measure.sentences_per_second(model, data.test) for name, model in models.items()
}
ratio = speed["student, untrained"] / speed["teacher"]
share = kd.measure.parameters(student) / kd.measure.parameters(teacher)
assert share < 0.2  # as the first lines of this lab say
kd.say(
    f"The student has **{share:.0%}** of the teacher's parameters and is **{ratio:.1f}** times as fast."
)

# %% [markdown]
# ## Measure: labels are dear, sentences are not
#
# Each *arm* is one way to train a student. *Labels only* has 1,000 labelled sentences. The other arms have a teacher: for those
# 1,000, or for many more sentences *without* their labels. Beside them stands the cheapest rival: a *bag of words*, one weight
# for each word and class, added up over a sentence, whatever the order. It learns from the same sentences, once from labels, once
# from the teacher. Same number of steps for all; five *paired seeds*, so that the arms share first weights and order of sentences
# seed by seed. The results are stored (`kdcourse results 09` repeats them). Hidden states and attention are matched on the many
# sentences without labels.
#
# The first table shows what differs: the sentences and the labels that an arm learns from, its arithmetic in multiply-adds, and
# its temperature. The second has the test accuracies, and in *difference* each arm less *labels only*. *Holm* is the verdict that
# is left when the number of comparisons is allowed for.

# %%
study = kd.study("09-sentiment", data)
stored = study.stored()
stored.differs()

# %%
stored.table()

# %%
stored.figure()

# %%
free, full = stored.difference("KD, no labels"), stored.difference("KD + hidden states")
kd.claim("The teacher's answers and hidden states, without a label, beat 1,000 labels", full)
inner = {
    arm: stored.difference(f"KD + {arm}", "KD, no labels")
    for arm in ("hidden states", "attention")
}
kd.say(
    f"On the same 1,000 sentences the teacher brings {stored.difference('KD')} "
    f"(**{stored.difference('KD').verdict}**); on many more, without a single label, {free} (**{free.verdict}**). Added to the answers on the same "
    "sentences, "
    + ", ".join(
        f"{arm} bring {change} (**{change.verdict}**)" for arm, change in inner.items()
    )
    + "."
)

# %% [markdown]
# ### A student that stands still
#
# Look at every seed, not at the mean alone. A BERT with fresh weights can stand still for hundreds of steps before it learns
# anything: it stays on a *plateau*, where each sentence gets the answer that is right most often. One such seed widens an interval
# beyond use. Named here is each student that lies more than ten points below the median of its arm, on validation data:


# %%
def standing(comparison):
    """Arm and seed of each student more than ten points below its arm's median, on validation data."""
    low = comparison.validation < comparison.validation.median() - 10
    return [(arm, seed) for arm in low for seed in low.index[low[arm]]]


# %%
still = [
    f"*{arm}*, seed {seed}: {', '.join(f'{score:.1f}' for score in stored.scores[arm])} % with the five seeds"
    for arm, seed in standing(stored)
]
kd.say("Stood still: " + ("; ".join(still) or "no student") + ".")

# %% [markdown]
# What gets a student off its plateau? In a *warm-up* the learning rate rises from 0 to its peak, so that the first steps are small
# ones. Every BERT above warmed up over a tenth of its steps, which is usual. With half of the steps, the seed that stood still on
# SST-2 no longer did. One rescued seed shows little, and where few stand still, ten more show no more. The next comparison has
# four times the rate: three of three other seeds stood still so. Against it stand the long warm-up and its cheapest rival, the
# usual rate. A student *stands still* here if it gives at least 95 of 100 sentences the same answer.

# %%
plateau = kd.study("09-plateau", data)
warmed, stuck = plateau.stored(), plateau.stored("-still")
warmed.figure()

# %%
cures = [arm for arm in stuck.scores if arm != stuck.baseline]
kd.say(
    f"Of {len(stuck.scores)} students each, stood still: "
    + ", ".join(f"{(stuck.scores[arm] == 100).sum()} ({arm})" for arm in stuck.scores)
    + f". Against the {stuck.baseline}, in accuracy: "
    + "; ".join(
        f"{arm} {warmed.difference(arm)} (**{warmed.difference(arm).verdict}**)"
        for arm in cures
    )
    + f". The long warm-up against the lower rate: {warmed.difference(cures[0], cures[1])} "
    f"(**{warmed.difference(cures[0], cures[1]).verdict}**)."
)

# %% [markdown]
# And the cheapest rival? Each BERT against the bag of words that had the same sentences and the same answers:

# %%
counted = {
    "labels only": "bag of words",
    "KD, no labels": "bag of words, KD, no labels",
    "KD + hidden states": "bag of words, KD, no labels",
    "every label": "bag of words, every label",
}
kd.say(
    f"The bag of words reaches {stored.scores['bag of words, every label'].mean():.1f} % with every label. Against it a student "
    + ", ".join(
        f"({arm}) has {stored.difference(arm, rival)} (**{stored.difference(arm, rival).verdict}**)"
        for arm, rival in counted.items()
    )
    + ". A bag of words cannot know in which order the words stand."
)

# %% [markdown]
# One arm is trained again now, with two seeds. The table sets its mean beside the stored one:

# %%
again = study.run("KD", seeds=2)
beside = stored.beside(again, within=4)  # processors round differently
beside

# %%
# Processors round differently, and BERTs amplify it.
taught, alone = again.students["KD"][0], study.recipes["labels only"].run(seed=0)

# %% [markdown]
# ## Watch both decide while you type
#
# Type a sentence of your own. Where do teacher and students disagree? Each network answers at every key that you press. The time
# beside it is that of one sentence, with the tokenizer's share. While a cell runs, the box waits.

# %%
torn = "the plot is not bad , but I would not watch it again ."
box = kd.widgets.sentence_box(
    {"teacher": teacher, "taught student": taught, "labels-only student": alone},
    data.classes,
    sentence=torn,
)
box

# %% tags=["widget-test"]
with box.restored():
    long = "I expected a dull book and was wrong , and " * 30
    said = {"": "nothing to read", "wonderful": "“wonderful” teacher:", long: "64 tokens"}
    for typed, words in said.items():
        box.move(sentence=typed)
        assert words in box.description

# %% [markdown]
# ## Begin with the teacher's own layers
#
# DistilBERT does not begin from nothing: it takes every second layer of its teacher. That needs the teacher's width, so this
# student is larger than ours. With copied layers or with fresh weights, it learns from the teacher's answers for the same few
# steps. What was learnt, and what was there before? The copy is measured before it has seen a sentence, too. The table holds each
# arm against fresh weights.
#
# **Predict**: how good is the copy before any training?

# %%
untrained = kd.predict(
    "09.untrained-copy",
    "How many test sentences does the copy get right before any training?",
    between=(50, 100),
    unit="%",
)
untrained

# %%
depth = kd.study("09-half-depth", data).stored()
depth.table().rename(columns={"pictures seen in training": "sentences seen in training"})

# %%
untrained.answer(depth.scores["copied, before training"].mean(), on=depth.figure())

# %%
start = "copied, before training"
copied, before = depth.difference("copied"), depth.difference(start)
trained = {
    "at the rate of the fresh student": depth.difference("copied", start),
    "at a tenth of it": depth.difference("copied, a tenth of the rate", start),
}
kd.say(
    f"Copied layers instead of fresh weights, both distilled: {copied} (**{copied.verdict}**). The copy before any training has "
    f"{depth.scores[start].mean():.1f} %, {before} against the fresh student that was distilled: what was moved, not learnt. Distilling the "
    "copy adds "
    + ", ".join(f"{found} {rate} (**{found.verdict}**)" for rate, found in trained.items())
    + "."
)

# %% [markdown]
# An earlier version of this lab took the gain over fresh weights for distillation's, from a better beginning. Layers that have
# learnt already are knowledge, and a rate that fresh weights need can destroy some of it. So measure a copy before you train it.
#
# ### Train a copy and keep what it knows
#
# Three things may protect what was copied: a lower rate; a longer *warm-up*, in which the rate rises over the first half of the
# steps and not the first tenth; and *freezing*, which leaves the embeddings and the lower layer as they are. The first table has
# six ways to train the copy, with three seeds each, and their accuracy on *validation* sentences. The best of them was then
# trained with six other seeds, beside the way that fresh students are trained and the copy as it was: that is the second table,
# of test sentences.

# %%
ways = kd.study("09-copy-choice", data).stored()
ways.validation.mean().sort_values(ascending=False).to_frame("validation accuracy, %").round(2)

# %%
careful = kd.study("09-copy", data).stored()
careful.table().rename(columns={"pictures seen in training": "sentences seen in training"})

# %%
as_fresh, as_chosen = careful.scores.columns[1:]
gains = {arm: careful.difference(arm) for arm in (as_fresh, as_chosen)}
apart = careful.difference(as_chosen, as_fresh)
kd.say(
    f"Validation data choose *{ways.best(among=list(ways.scores))}*. Against the copy as it was: "
    + ", ".join(f"*{arm}* {gain} (**{gain.verdict}**)" for arm, gain in gains.items())
    + f". The choice against the usual way: {apart} (**{apart.verdict}**). "
    f"The teacher of all has {kd.measure.accuracy(teacher, data.test):.1f} %, the copy had {careful.scores[start].mean():.1f} %."
)

# %% [markdown]
# Be careful with SST-2's validation sentences. They are drawn from its training file, which holds whole sentences and phrases
# that were cut from them. So the teacher and the students have seen parts of what they are judged by. Scores are higher there
# than on test sentences, and what validation data choose need not be the best on those.

# %% [markdown]
# ## When it does not help
#
# ### Every sentence has a label
#
# **Predict**: what does the teacher add when all of the many sentences are labelled?

# %%
with_all_labels = kd.predict(
    "09.every-label",
    "With every label, the teacher",
    options=["helps", "hurts", "no clear difference"],
)
with_all_labels

# %%
rich = stored.difference("KD, every label", "every label")
stored.against("every label").only("KD, every label", "KD, no labels").table()

# %%
with_all_labels.answer(rich.verdict)
kd.say(
    f"With every label the teacher adds {rich} (**{rich.verdict}**). Its answers alone, without a label, differ by "
    f"{stored.difference('KD, no labels', 'every label')} from all the labels."
)

# %% [markdown]
# ### The reviews are suddenly about something else
#
# The built-in reviews, written by a grammar, are about films, books, kitchen ware and electronics. A student that was taught on films meets the rest: *flimsy* and
# *overheating* are words it has never seen. (The teacher has.) The table is of the accuracy on everything but films.

# %%
shift = kd.study("09-shift", kd.load_texts("reviews"))
elsewhere, home = shift.stored(), shift.stored("-home")
elsewhere.table()

# %%
lost = home.scores["KD, films"].mean() - elsewhere.scores["KD, films"].mean()
more = elsewhere.difference("KD, all categories", "KD, films")
kd.say(
    f"The student taught on films loses **{lost:.1f} points** when it leaves the cinema. To hear the teacher on "
    f"the other categories' sentences too, without labels, brings {more} there (**{more.verdict}**)."
)

# %% [markdown]
# ## At full size
#
# On a GPU: a student of the proportions of DistilBERT, the teacher's width and half of its layers, with every label and with the teacher
# besides. It begins with fresh weights.

# %%
full = kd.at_full_size(
    {name: study.recipes[name] for name in ("every label", "KD, every label")},
    data,
    seeds=3,
    student=partial(kd.models.bert, 192, 2),
    steps=1200,
    batch_size=64,
)

# %% [markdown]
# With a network and a GPU (on Colab: Runtime, Change runtime type, T4) the same call distils the real ones. Checkpoints go to
# your Drive: if the session is cut off, run the block again with `resume_from_checkpoint=True` in the call that was cut.
# *Expected*, not measured here: ten minutes for the teacher and as many for the student on a T4, and on the dev set about 92 to
# 93 % for the teacher and 90 to 92 % for the student.
#
# ```python
# from google.colab import drive
# drive.mount("/content/drive")
# place = "/content/drive/MyDrive/distil-bert"
# films = kd.load_texts("sst2")
# keeping = dict(save_strategy="steps", save_steps=1000, save_total_limit=1, validation=films.validation, eval_steps=1000, fp16=True)
# large = kd.models.pretrained("bert-base-uncased", classes=2)
# kd.finetune(large, films.train, steps=6000, learning_rate=2e-5, output_dir=f"{place}/teacher", **keeping)
# small = kd.models.pretrained("distilbert-base-uncased", classes=2)
# taught = dict(teacher=large, temperature=2, alpha=0.5)
# losses = kd.finetune(small, films.train, steps=6000, learning_rate=5e-5, output_dir=f"{place}/student", **taught, **keeping)
# kd.measure.accuracy(large, films.test), kd.measure.accuracy(small, films.test), losses.history[-2]
# ```
#
# `bert-base-uncased` and `distilbert-base-uncased` have been trained on much text before, the second one by the triple loss from the first. Here
# a task-agnostic student gets a task-specific teacher, as people do today.
#
# GLUE is a collection of tasks, SST-2 among them. It publishes the labels of the *dev* split, and keeps those of *test* to
# itself.
#
# | SST-2, accuracy in % | beside it | distilled | source |
# |---|---|---|---|
# | DistilBERT, dev | 92.7 (BERT-base) | 91.3, 40 % smaller and 60 % faster | Sanh et al. 2019, table 1 |
# | BERT-base, taught by BERT-large, test | 94.1 (fine-tuned without it) | 93.7 | torchdistill's GLUE table |
#
# The second row is a loss: KD does not always win. Ours differ in everything but the task: millions of parameters instead of a hundred
# million, and no pretraining of the student. A BERT in a local folder loads the same way: `kd.models.pretrained("folder")`.
#
# ## Recap
#
# - To a distillation loss a sentence is a picture: logits in, scalar out. What is new is padding, and that inner losses
#   need one vocabulary on both sides.
# - A teacher can answer sentences that have no labels. Whether that beats a few labels, an interval says; a seed that stands still can hide it.
#   What rescues one seed must be tried on others, and beside the simplest cure: a lower rate.
# - Hidden states and attention can be matched too; measure before you pay for them.
# - A teacher's layers can be copied, where the widths agree. Measure the copy before you train it, and measure a
#   bag of words before you train a BERT.
#
# ### Check yourself

# %%
quiz = kd.quiz("09")
quiz

# %% tags=["widget-test"]
quiz.try_every_option()

# %% [markdown]
# ### On your own
#
# - Your own reviews: a folder with `train.tsv` and `dev.tsv` (`sentence`, `label`), then `kd.load_texts("folder")`.
# - `kd.load_texts("product-reviews")`, where the folder in KDCOURSE_DATA has them: far longer texts, cut at 64 tokens.
# - Which layers? `kd.finetune(..., teacher=teacher, hidden=1.0, layers={0: 0, 1: 1})` against the default.
# - The teacher was made by `kdcourse teachers sentiment --pretrained FOLDER`: read `kdcourse/zoo/sentiment.py`.
#
# ### Read further
#
# - Sanh, Debut, Chaumond, Wolf (2019), *DistilBERT, a distilled version of BERT*. Jiao et al. (2020), *TinyBERT*.
# - Tang et al. (2019), *Distilling Task-Specific Knowledge from BERT into Simple Neural Networks*: sentences made up for the teacher.
# - Turc, Chang, Lee, Toutanova (2019), *Well-Read Students Learn Better*: pretrain the student first.
