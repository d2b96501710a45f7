"""Classifiers of sentences: tokens, errors, copied layers, finetuning, and the shipped teacher."""

import json
import os
import re
from functools import partial
from unittest import mock

import pytest
import safetensors.torch
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

import kdcourse as kd
from kdcourse import zoo
from kdcourse.data import Sentences, TextData, load_texts
from kdcourse.data.tokens import as_tokens
from kdcourse.evaluation import measure
from kdcourse.experiments import experiment
from kdcourse.models import bert, every_second_layer, pretrained, sentiment
from kdcourse.system.storage import load_tensors
from kdcourse.training import finetuning
from kdcourse.zoo.sentiment import augment_texts, init_word_embeddings, split_sentences

TEXTS = ("a good film", "what a dull , rusty pan .", "the plot is not gripping", "lovely")


@pytest.fixture
def small():
    return bert(16, 2, heads=2, seed=1)


@pytest.fixture
def split():
    return Sentences(TEXTS * 8, torch.tensor([1, 0, 0, 1] * 8))


def test_the_vocabulary_is_whole_and_lower_case():
    tokens = sentiment.VOCABULARY.read_text(encoding="utf-8").splitlines()
    assert len(tokens) == len(set(tokens)) == 8000
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "not"} <= set(tokens)
    assert sentiment.tokenizer().tokenize("The Film") == ["the", "film"]


def test_a_prediction_does_not_depend_on_its_neighbours(small):
    """Padding and the order by length leave every answer where it belongs."""
    together = small.predict(TEXTS, batch_size=3)
    for text, logits in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(small.predict([text])[0], logits, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(small.eval()(TEXTS), together, rtol=1e-4, atol=1e-6)


def test_weights_follow_the_seed_and_modes_are_restored(small):
    assert torch.equal(bert(16, 2, heads=2, seed=1).predict(TEXTS), small.predict(TEXTS))
    assert not torch.equal(bert(16, 2, heads=2, seed=2).predict(TEXTS), small.predict(TEXTS))
    small.bert.train()
    small.predict(TEXTS)
    assert small.bert.training


def test_bad_texts_are_named(small):
    long = "good " * 100
    for texts, message in (
        (["fine", ""], "texts must all hold words, got '' at position 1"),
        ([3], "texts must all hold words, got 3 at position 0"),
        ("good film", "texts must be a list of strings, got one string, 'good film'"),
        ([long], "texts must have at most 64 tokens each, got 102 at position 0; truncate=True cuts them"),
    ):
        with pytest.raises(ValueError, match=message):
            small(texts)
    assert small([long], truncate=True).shape == (1, 2) == small.predict([long]).shape
    assert small.is_cut("good " * 63) and not small.is_cut("good " * 62)
    with pytest.raises(ValueError, match="width must be a multiple of heads"):
        bert(10, 1, heads=4)


def test_texts_of_any_length_are_answered(small):
    assert small.predict([]).shape == (0, 2)
    told = "a fine film " * 17_000  # some 200,000 characters
    endless = "x" * 200_000
    found = small.predict([told, endless, "good"])
    torch.testing.assert_close(found[0], small.predict(["a fine film " * 30])[0])
    assert found.isfinite().all() and small.is_cut(told)


def test_a_model_names_its_classes_as_the_data_do(small):
    assert (
        small.bert.config.id2label == {0: "negative", 1: "positive"} == dict(enumerate(load_texts("reviews").classes))
    )
    of_three = bert(16, 2, heads=2, class_names=("bad", "fair", "good"))
    assert of_three.predict(TEXTS).shape == (4, 3) and of_three.bert.config.label2id == {"bad": 0, "fair": 1, "good": 2}
    assert every_second_layer(of_three).bert.config.id2label == {0: "bad", 1: "fair", 2: "good"}


def test_tokens_are_answered_as_their_texts_are(small):
    texts = ("a film", *TEXTS, "good " * 200)
    found = as_tokens(Sentences(texts, torch.arange(len(texts)) % 2), small.eval().tokenizer)
    assert found.inputs.shape == (len(texts), sentiment.LONGEST) and len(found.labels) == len(texts)
    with torch.no_grad():
        torch.testing.assert_close(small(found.inputs), small(texts, truncate=True))
        torch.testing.assert_close(small(found.inputs[:1]), small(texts[:1]))


def test_every_second_layer_is_copied():
    teacher = bert(16, 4, heads=2, seed=3)
    student = every_second_layer(teacher)
    ours, theirs = student.bert.bert.encoder.layer, teacher.bert.bert.encoder.layer
    assert len(ours) == 2
    for own, other in zip(ours, (theirs[0], theirs[2]), strict=True):
        for one, two in zip(own.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two) and one is not two
    assert torch.equal(student.bert.classifier.weight, teacher.bert.classifier.weight)
    fresh = every_second_layer(teacher, copy=False, seed=1)
    assert not torch.equal(fresh.bert.classifier.weight, teacher.bert.classifier.weight)


WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film")
SIZES = {"vocab_size": 8, "num_attention_heads": 2, "hidden_size": 16, "num_hidden_layers": 4, "num_labels": 3}


def foreign(kind, longest=32, **more):
    """A classifier of another build, with a tokenizer of eight words."""
    torch.manual_seed(0)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(
        getattr(transformers, f"{kind}Config")(**{**SIZES, **more})
    )
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    return sentiment.SentimentClassifier(model, transformers.BertTokenizer(vocab=vocabulary, model_max_length=longest))


LONG = "good film " * 60
BUILDS = {
    "Bert": {"max_position_embeddings": 32},
    "DistilBert": {"max_position_embeddings": 32},
    "Roberta": {"max_position_embeddings": 34},
    "GPT2": {"n_positions": 32, "pad_token_id": None},
}


@pytest.mark.parametrize("longest", [32, 10**30])
@pytest.mark.parametrize("kind", BUILDS)
def test_models_of_other_builds_read_as_much_as_they_can(kind, longest):
    """RoBERTa has two positions more than it can read, GPT-2 nothing to pad with; a tokenizer may not know a model's length."""
    model = foreign(kind, longest, **BUILDS[kind])
    assert model.longest == 32
    answers = model.predict([LONG, "good film", "bad"])
    assert answers.shape == (3, 3)
    torch.testing.assert_close(answers[1:2], model.predict(["good film"]), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="texts must have at most 32 tokens each, got 34 at position 0"):
        model(["good " * 32])
    assert (
        len(kd.finetune(model, Sentences((LONG, "bad"), torch.tensor([1, 0])), steps=2, batch_size=2, progress=False))
        == 2
    )


def test_how_long_a_text_may_be_is_looked_up_once_for_all_of_them(small, monkeypatch):
    """It goes through all parts of the model: for each of 20,000 sentences that took longer than their training."""
    longest = mock.PropertyMock(return_value=64)
    monkeypatch.setattr(sentiment.SentimentClassifier, "longest", longest)
    small.encode(["a good film", "a bad one", "a long one"], truncate=True)
    longest.assert_called_once()


def test_a_tokenizer_without_padding_pads_with_its_end():
    model = foreign("GPT2", **BUILDS["GPT2"])
    tokenizer = transformers.BertTokenizer(vocab={word: n for n, word in enumerate(WORDS)}, eos_token="[SEP]")
    tokenizer.pad_token = model.bert.config.pad_token_id = None
    again = sentiment.SentimentClassifier(model.bert, tokenizer)
    assert again.bert.config.pad_token_id == again.tokenizer.pad_token_id == WORDS.index("[SEP]")


@pytest.mark.parametrize("kind", BUILDS)
def test_every_second_layer_of_other_builds_is_copied(kind):
    teacher = foreign(kind, **BUILDS[kind])
    student = every_second_layer(teacher)
    assert type(student.bert) is type(teacher.bert) and student.tokenizer is teacher.tokenizer
    ours, theirs = (
        next(part for part in model.modules() if isinstance(part, torch.nn.ModuleList)) for model in (student, teacher)
    )
    assert len(ours) == 2 and student.predict(["good film"]).shape == (1, 3)
    for own, other in zip(ours, theirs[::2], strict=True):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in own.state_dict().items())
    outside = [name for name in student.state_dict() if not re.search(r"\.\d+\.", name)]
    assert outside and all(torch.equal(student.state_dict()[name], teacher.state_dict()[name]) for name in outside)
    fresh = every_second_layer(teacher, copy=False, seed=1).state_dict()
    assert any(not torch.equal(fresh[name], teacher.state_dict()[name]) for name in outside)


def test_a_teacher_whose_layers_are_one_has_no_every_second():
    with pytest.raises(ValueError, match=r"teacher must have its 4 layers in one list, .* got AlbertForSequence"):
        every_second_layer(foreign("Albert", intermediate_size=16, embedding_size=8))


def test_a_folder_is_loaded_with_as_many_classes_as_it_says(tmp_path):
    model = foreign("Bert", **BUILDS["Bert"])
    model.bert.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    torch.testing.assert_close(pretrained(tmp_path).predict(["good film"]), model.predict(["good film"]))
    anew = pretrained(tmp_path, classes=5)
    assert anew.predict(["good film"]).shape == (1, 5)
    assert torch.equal(anew.bert.bert.pooler.dense.weight, model.bert.bert.pooler.dense.weight)


def test_a_folder_is_loaded_as_the_hub_is(small, tmp_path):
    small.bert.save_pretrained(tmp_path / "own")
    small.tokenizer.save_pretrained(tmp_path / "own")
    again = pretrained(tmp_path / "own")
    torch.testing.assert_close(again.predict(TEXTS), small.predict(TEXTS))
    with pytest.raises(
        ValueError, match="name_or_folder must be a folder that save_pretrained wrote or a model on the hub"
    ):
        pretrained(tmp_path)


def test_finetuning_follows_its_seed_and_learns(split):
    students = [bert(16, 1, heads=2, seed=1) for _ in range(3)]
    losses = [
        kd.finetune(one, split, steps=60, learning_rate=5e-3, seed=seed, progress=False)
        for one, seed in zip(students, (0, 0, 1), strict=True)
    ]
    assert losses[0] == losses[1] != losses[2] and losses[0][-1] < losses[0][0]
    assert torch.equal(students[0].predict(TEXTS), students[1].predict(TEXTS))
    assert measure.accuracy(students[0], split) > 75 and not students[0].training


def test_what_finetuning_is_given_is_looked_at_before_it_trains(split, small):
    whole = TextData("own", split, split, split, "a test")
    teacher = bert(16, 2, heads=2, seed=5)
    for settings, message in (
        ({"student": small.bert}, r"student must be SentimentClassifier, such as kd\.models\.bert\(\), got BertFor"),
        ({"teacher": teacher.bert}, "teacher must be SentimentClassifier, .* got BertForSequenceClassification"),
        ({"split": whole}, r"split must be Sentences, such as data\.train, got TextData"),
        ({"split": Sentences((), torch.tensor([], dtype=torch.int64))}, "split is empty"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number above 0, got -1.0"),
        ({"max_steps": 3}, "steps must be given in place of max_steps, got max_steps=3"),
        ({"validation": TEXTS}, r"validation must be Sentences, such as data\.validation, got tuple"),
        ({"validation": split.unlabelled()}, "validation must hold labelled sentences to be judged on, got none"),
        ({"save_strategy": "steps"}, "output_dir must be given where save_strategy is 'steps': a folder"),
        ({"answers": torch.zeros(31, 2)}, "teacher_logits must hold one entry for each of 32 texts, got 31"),
        ({"answers": torch.full((32, 2), float("nan"))}, "teacher_logits must not hold NaN, got 64 of 64 values"),
    ):
        before = {name: value.clone() for name, value in small.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            kd.finetune(**{"student": small, "split": split, "steps": 1, "progress": False, **settings})
        assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_finetuning_passes_on_what_the_trainer_can_do(split, tmp_path, monkeypatch):
    heard = []

    class Reporter(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            heard.append(logs)

    monkeypatch.setitem(transformers.integrations.integration_utils.INTEGRATION_TO_CALLBACK, "own", Reporter)
    student, teacher = bert(16, 1, heads=2, seed=1), bert(16, 2, heads=2, seed=5)
    settings = {"lr_scheduler_type": "constant", "warmup_steps": 0, "logging_steps": 2, "report_to": "own"}
    settings |= {"save_strategy": "steps", "save_steps": 2, "output_dir": str(tmp_path), "progress": False}
    found = kd.finetune(
        student, split, teacher=teacher, steps=4, learning_rate=1e-3, validation=split, eval_steps=2, **settings
    )
    rates = [line["learning_rate"] for line in found.history if "learning_rate" in line]
    judged = [line["eval_accuracy"] for line in found.history if "eval_accuracy" in line]
    assert (
        rates == [1e-3, 1e-3]
        and len(found) == 2
        and all("soft_loss" in line for line in found.history if "loss" in line)
    )
    assert judged[-1] == pytest.approx(measure.accuracy(student, split)) and len(judged) == 2
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    saved = safetensors.torch.load_file(tmp_path / "checkpoint-4" / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in student.bert.state_dict().items())
    again = bert(16, 1, heads=2, seed=7)
    settings |= {"resume_from_checkpoint": str(tmp_path / "checkpoint-2"), "validation": split, "eval_steps": 2}
    found = kd.finetune(again, split, teacher=teacher, steps=4, learning_rate=1e-3, **settings)
    assert torch.equal(again.predict(TEXTS), student.predict(TEXTS)) and len(found) == 2


def test_finetuning_that_diverges_says_at_which_step(split, small):
    with pytest.raises(FloatingPointError, match=r"training diverged: the loss is (nan|inf) at step [2-9]; lower"):
        kd.finetune(small, split, steps=40, learning_rate=1e30, progress=False)
    assert not small.bert.training


def test_sentences_without_labels_need_a_teacher(split, small):
    with pytest.raises(ValueError, match="split has no labels, so it needs a teacher"):
        kd.finetune(small, split.unlabelled(), steps=2, progress=False)
    teacher = bert(16, 2, heads=2, seed=5)
    kd.finetune(small, split.unlabelled(), teacher=teacher, steps=60, learning_rate=3e-3, progress=False)
    assert (small.predict(TEXTS) - teacher.predict(TEXTS)).abs().max() < 0.5


def test_a_teacher_is_asked_once_for_each_set_of_sentences(split, small, monkeypatch):
    teacher, asked = bert(16, 2, heads=2, seed=6), []
    predict = sentiment.SentimentClassifier.predict

    def counted(self, texts, **settings):
        asked.append(len(texts))
        return predict(self, texts, **settings)

    monkeypatch.setattr(sentiment.SentimentClassifier, "predict", counted)
    first = finetuning.remembered(teacher, split)
    assert torch.equal(finetuning.remembered(teacher, split.unlabelled()), first) and asked == [32]
    with torch.no_grad():
        teacher.bert.classifier.bias += 1
    assert not torch.equal(finetuning.remembered(teacher, split), first), "the teacher changed"


def test_an_arm_is_run_and_described(split):
    recipe = kd.TextRecipe(lambda seed: bert(16, 1, heads=2, seed=seed), lambda seed: split.sample(8, seed), steps=3)
    assert recipe.budget == 96
    student = recipe.run(seed=2)
    assert recipe.describe(student)["method"] == "labels only" and recipe.describe(student)["student"] == "BERT 1 × 16"
    torch.testing.assert_close(recipe.run(seed=2).predict(TEXTS), student.predict(TEXTS))


def test_the_rate_rises_over_the_share_of_the_steps_that_a_recipe_says(split, monkeypatch):
    given = []
    monkeypatch.setattr(experiment, "finetune", lambda *args, **settings: given.append(settings["warmup_steps"]))
    student = partial(bert, 16, 1, heads=2)
    for recipe in (kd.TextRecipe(student, split, steps=40), kd.TextRecipe(student, split, steps=40, warmup=0.5)):
        assert recipe.describe(recipe.run())["warmup"] == recipe.warmup
    assert given == [4, 20]
    with pytest.raises(ValueError, match=r"warmup must be within \[0, 1\], got 1.5"):
        kd.TextRecipe(student, split, warmup=1.5)


def test_variations_keep_the_first_and_change_the_rest():
    texts = ["a wonderful film about nothing at all"] * 50
    made = list(augment_texts(texts, 3, seed=0))
    assert made[:50] == texts and len(made) == 150 and made == list(augment_texts(texts, 3, seed=0))
    changed = made[50:]
    assert any("[MASK]" in text for text in changed) and all(text.strip() for text in changed)
    assert 10 <= sum(len(text.split()) < 7 for text in changed) <= 45, "about a quarter are cut"


def test_a_student_begins_with_its_teachers_words():
    large, student = bert(32, 1, heads=2, seed=3), bert(16, 1, heads=2, seed=4)
    theirs, ours = (model.bert.get_input_embeddings().weight.detach() for model in (large, student))
    with torch.no_grad():  # all that the words say lies in eight directions, so sixteen components keep it
        theirs[:, 8:] = 0
    init_word_embeddings(student, large)
    assert ours.std() == pytest.approx(student.bert.config.initializer_range, rel=1e-3)
    centred = theirs - theirs.mean(dim=0)
    ours, theirs = ours[:50] / ours.std(), centred[:50] / (centred @ _basis(centred)).std()
    torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T, atol=1e-3, rtol=1e-3)


def _basis(centred):
    return torch.linalg.svd(centred, full_matrices=False).Vh[:16].T


def test_sentences_are_cut_where_they_end():
    cut = split_sentences(["A fine book. I read it twice! Why? A fine book.", "one two"])
    assert cut == ["a fine book.", "i read it twice!"]


@pytest.fixture(scope="module")
def teacher():
    return zoo.sentiment_teacher(announce=False)


def test_the_shipped_teacher_is_small_and_knows_the_built_in_reviews(teacher):
    path = zoo.SHIPPED / zoo.sentiment.NAME
    card = json.loads(load_tensors(path)[1]["card"])
    assert path.stat().st_size <= 8e6 and set(card["test_accuracy"]) == {"sst2", "reviews"}
    reviews = load_texts("reviews")
    assert reviews.train.fingerprint == card["data"]["reviews"], "the grammar has changed since the teacher was trained"
    accuracy = measure.accuracy(teacher, reviews.test)
    assert accuracy == pytest.approx(card["test_accuracy"]["reviews"], abs=0.5) and accuracy > 95


@pytest.mark.skipif(not os.environ.get("KDCOURSE_DATA"), reason="needs the folder in KDCOURSE_DATA")
def test_the_shipped_teacher_knows_films(teacher):
    card = json.loads(load_tensors(zoo.SHIPPED / zoo.sentiment.NAME)[1]["card"])
    accuracy = measure.accuracy(teacher, load_texts("sst2").test)
    assert accuracy == pytest.approx(card["test_accuracy"]["sst2"], abs=0.5) and accuracy > 81


def test_the_student_is_a_quarter_of_the_teacher_and_takes_half_its_arithmetic(teacher):
    student = bert(**kd.studies.lab_09.STUDENT)
    assert 4 * measure.parameters(student) <= measure.parameters(teacher)
    texts = load_texts("reviews").test.texts[:256]

    def operations(model):
        with FlopCounterMode(display=False) as counter:
            model.predict(texts, batch_size=64)
        return counter.get_total_flops()

    assert operations(teacher) >= 2 * operations(student) > 0


def test_a_missing_teacher_is_trained_on_the_built_in_reviews(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(zoo.store, "SHIPPED", tmp_path / "none")
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(zoo.sentiment, "QUICK_STEPS", 2)
    zoo.sentiment_teacher()
    assert "training one on the built-in reviews" in capsys.readouterr().out
    zoo.sentiment_teacher()
    assert "from the cache" in capsys.readouterr().out
