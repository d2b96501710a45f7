"""The teacher of lab 09: a small BERT for SST-2 and the built-in reviews, itself the student of a larger, pretrained one.

    kdcourse teachers sentiment --pretrained FOLDER

fine-tunes the pretrained BERT in FOLDER, lets it label many variations of the training sentences, and distils its answers into
a small BERT with fresh weights. The one that ships was taught by all-MiniLM-L6-v2 (Wang et al. 2020; 22.7 M parameters,
Apache-2.0).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from kdcourse.data.texts import Sentences, TextData, joined, load_texts
from kdcourse.evaluation import measure
from kdcourse.models.sentiment import VOCABULARY, SentimentClassifier, bert, pretrained
from kdcourse.system.storage import write_safely
from kdcourse.training.finetuning import finetune
from kdcourse.zoo import store

NAME = "sentiment-bert.safetensors"


@dataclass(frozen=True)
class SentimentRecipe:
    """How the shipped teacher is made; every step is of 32 sentences.

    vocabulary: tokens. fine_tuning, adapting: steps of the pretrained BERT on SST-2, then on both sets in equal shares.
    variations: how often each of SST-2's training sentences comes, the first time as it is. words: whether the small BERT
    begins with the large one's word embeddings. distilling: its steps, with this learning_rate, temperature, and weight of the
    loss between [CLS] states.
    """

    vocabulary: int = 8000
    fine_tuning: int = 4210
    adapting: int = 313
    variations: int = 4
    words: bool = True
    distilling: int = 18_000
    learning_rate: float = 5e-4
    temperature: float = 2.0
    sentence: float = 1.0
    seed: int = 0


QUICK_STEPS = 600  # where a student has to wait for a teacher


def sentiment_teacher(*, announce: bool = True) -> SentimentClassifier:
    """The trained teacher, frozen and in evaluation mode: it knows SST-2's film reviews and the built-in ones.

    Says in one line how good it is on both, and where it came from; not with announce=False. Where the shipped checkpoint is
    missing or damaged, one is trained on the built-in reviews, which takes minutes, once.
    """
    missing = "No sentiment teacher is stored: training one on the built-in reviews takes some minutes, once."
    model, card, origin = store.load_or_train(bert(), store.checkpoint_paths(NAME), missing, _train_on_reviews)
    if announce:
        scores = ", ".join(f"{name} {score:.1f} %" for name, score in card["test_accuracy"].items())
        print(f"Teacher {model.label}: test accuracy {scores} ({origin}).")
    return model.eval().requires_grad_(False)


def retrain_sentiment(folder: str | Path, recipe: SentimentRecipe | None = None) -> None:
    """Make the shipped vocabulary and teacher anew, with the pretrained BERT in `folder` as the first teacher; takes hours."""
    recipe = SentimentRecipe() if recipe is None else recipe
    films, own, more = (load_texts(name, fallback=False) for name in ("sst2", "reviews", "product-reviews"))
    unlabelled = [*own.train.texts, *split_sentences(more.train.texts)]
    build_vocabulary([*films.train.texts, *unlabelled], recipe.vocabulary)
    large = finetune_pretrained(folder, films.train, own.train, recipe)
    varied = augment_texts(films.train.texts, recipe.variations, recipe.seed)
    model = distil(large, [*varied, *unlabelled], recipe)
    save_shipped(
        model, [films, own], recipe, {"taught by": Path(folder).name, **accuracies(large, [films, own], "test")}
    )


def build_vocabulary(texts: list[str], size: int) -> None:
    """Train a WordPiece vocabulary (Schuster, Nakajima 2012) and write it into the package, a token a line."""
    from tokenizers import BertWordPieceTokenizer

    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train_from_iterator(texts, vocab_size=size, min_frequency=2, limit_alphabet=100, show_progress=False)
    tokens = sorted(trainer.get_vocab().items(), key=lambda item: item[1])
    write_safely(
        VOCABULARY, lambda path: path.write_text("\n".join(token for token, _ in tokens) + "\n", encoding="utf-8")
    )


def finetune_pretrained(
    folder: str | Path, films: Sentences, own: Sentences, recipe: SentimentRecipe
) -> SentimentClassifier:
    """The pretrained BERT, fine-tuned on SST-2 and then on both sets."""
    model = pretrained(folder)
    finetune(model, films, steps=recipe.fine_tuning, learning_rate=5e-5, seed=recipe.seed)
    both = joined(films.sample(len(own), recipe.seed), own)
    finetune(model, both, steps=recipe.adapting, learning_rate=2.5e-5, seed=recipe.seed)
    return model


def split_sentences(texts: Sequence[str]) -> list[str]:
    """Longer texts cut where a sentence ends; each sentence once, those of fewer than three words left out."""
    cut = [part.strip().lower() for text in texts for part in re.split(r"(?<=[.!?])\s+", text)]
    return list(dict.fromkeys(part for part in cut if len(part.split()) >= 3))


def distil(large: SentimentClassifier, texts: Iterable[str], recipe: SentimentRecipe) -> SentimentClassifier:
    """A small BERT taught by the large one alone: its answers, and its state at [CLS], which says more than two logits do."""
    split = Sentences(tuple(texts))
    answers, states = large.predict_with_states(split.texts)
    student = bert(seed=recipe.seed)
    if recipe.words:
        init_word_embeddings(student, large)
    finetune(
        student,
        split,
        answers=answers,
        states=states,
        steps=recipe.distilling,
        learning_rate=recipe.learning_rate,
        seed=recipe.seed,
        temperature=recipe.temperature,
        sentence=recipe.sentence,
    )
    return student


@torch.no_grad()
def init_word_embeddings(student: SentimentClassifier, large: SentimentClassifier) -> None:
    """Give the student's tokens the large model's word embeddings, in as many principal components as the student is wide.

    A token that the large model does not know gets the mean of the pieces it is cut into there. All are scaled to the spread
    that BERT's fresh embeddings have.
    """
    theirs, known = large.bert.get_input_embeddings().weight, large.tokenizer.get_vocab()
    means = []
    for token in student.tokenizer.convert_ids_to_tokens(range(len(student.tokenizer))):
        cut = large.tokenizer.tokenize(token.removeprefix("##")) or [large.tokenizer.unk_token]
        pieces = [token] if token in known else cut
        means.append(theirs[[known[piece] for piece in pieces]].mean(dim=0))
    words = torch.stack(means)
    words = words - words.mean(dim=0)
    ours = student.bert.get_input_embeddings().weight
    components = torch.linalg.eigh(words.T @ words).eigenvectors[:, -ours.shape[1] :]
    reduced = words @ components
    ours.copy_(reduced * (student.bert.config.initializer_range / reduced.std()))


def augment_texts(texts: Sequence[str], times: int, seed: int) -> Iterator[str]:
    """Each text as it is, then times − 1 variations: words masked, replaced by others, and one stretch of words cut out.

    Source: Tang et al. (2019), *Distilling Task-Specific Knowledge from BERT into Simple Neural Networks*, §3.2, with their
    shares of masked and replaced words, 0.1 each, and of texts of which a stretch is kept, 0.25; replacements ignore the part
    of speech.
    """
    generator = np.random.default_rng(seed)
    words = sorted({word for text in texts for word in text.split()})
    yield from texts
    for _ in range(times - 1):
        for text in texts:
            changed = mask_or_replace(text.split(), words, generator)
            if generator.random() < 0.25 and len(changed) > 1:
                length = generator.integers(1, min(6, len(changed)))
                start = generator.integers(len(changed) - length + 1)
                changed = changed[start : start + length]
            yield " ".join(changed)


def mask_or_replace(words: list[str], vocabulary: list[str], generator: np.random.Generator) -> list[str]:
    """A tenth of the words masked, and a tenth replaced by words drawn from the vocabulary."""
    chances = generator.random(len(words))
    drawn = generator.integers(len(vocabulary), size=len(words))
    changed = []
    for word, chance, number in zip(words, chances, drawn, strict=True):
        if chance < 0.1:
            changed.append("[MASK]")
        elif chance < 0.2:
            changed.append(vocabulary[number])
        else:
            changed.append(word)
    return changed


def accuracies(model: SentimentClassifier, sets: list[TextData], part: str) -> dict:
    return {f"{part}_accuracy": {data.name: round(measure.accuracy(model, getattr(data, part)), 2) for data in sets}}


def save_shipped(model: SentimentClassifier, sets: list[TextData], recipe: SentimentRecipe, more: dict) -> None:
    """Write the teacher and its card into the package."""
    model.half().float()  # stored in half precision, so judged in half precision
    card = {
        "teacher": model.label,
        "recipe": asdict(recipe),
        "data": {data.name: data.train.fingerprint for data in sets},
        **accuracies(model, sets, "validation"),
        **accuracies(model, sets, "test"),
        "parameters": measure.parameters(model),
        "its own teacher": more,
        "torch": torch.__version__,
    }
    store.ship(model, card, NAME)


def _train_on_reviews() -> tuple[SentimentClassifier, dict]:
    model, data = bert(), load_texts("reviews")
    finetune(model, data.train, steps=QUICK_STEPS, seed=SentimentRecipe().seed)
    return model, {"teacher": model.label, **accuracies(model, [data], "test")}
