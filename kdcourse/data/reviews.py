"""The built-in sentences: short reviews of films, books, kitchen ware and electronics, written by a small grammar.

A review's sentiment is what the grammar meant, never what its words add up to: negation turns an adjective round, *although*
and *but* say which half counts, a verdict overrules mixed feelings. A model that only counts words cannot do well.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

GRAMMAR = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
CATEGORIES = tuple(GRAMMAR["things"])


@dataclass(frozen=True)
class Review:
    """text: in lower case, words and marks set apart by spaces. positive: what was meant. category: one of `CATEGORIES`."""

    text: str
    positive: bool
    category: str


def reviews(count: int, seed: int = 0, categories: tuple[str, ...] = CATEGORIES) -> list[Review]:
    """`count` different reviews, half of them positive, the categories in turn.

    seed: fixes the reviews, default 0. categories: default all of `CATEGORIES`. Raises `ValueError` for an unknown category.
    """
    for category in categories:
        if category not in CATEGORIES:
            raise ValueError(f"categories must be among {', '.join(CATEGORIES)}, got {category!r}")
    writer, written = _Writer(np.random.default_rng(seed)), {}
    while len(written) < count:
        category, positive = categories[len(written) % len(categories)], len(written) // len(categories) % 2 == 0
        text = writer.review(category, positive)
        written.setdefault(text, Review(text, positive, category))
    return list(written.values())


class _Writer:
    def __init__(self, generator: np.random.Generator):
        self.generator = generator

    def pick(self, choices: list[str]) -> str:
        return choices[self.generator.integers(len(choices))]

    def chance(self, share: float) -> bool:
        return self.generator.random() < share

    def review(self, category: str, positive: bool) -> str:
        kind = self.generator.random()
        if kind < 0.35:
            text = self.clause(category, positive)
        elif kind < 0.5:
            text = f"{self.clause(category, positive)} and {self.clause(category, positive)}"
        elif kind < 0.7:
            text = self.contrast(category, positive)
        else:  # mixed feelings, or a plain opinion, and then the word that counts
            opening = (
                self.contrast(category, self.chance(0.5))
                if self.chance(0.4)
                else self.clause(category, self.chance(0.5))
            )
            text = f"{opening} . {self.pick(GRAMMAR['summaries']).format(verdict=self.pick(GRAMMAR['verdicts'][positive]))}"
        return f"{text} .".lower()

    def contrast(self, category: str, positive: bool) -> str:
        return self.pick(GRAMMAR["contrasts"]).format(
            for_=self.clause(category, positive), against=self.clause(category, not positive)
        )

    def clause(self, category: str, positive: bool) -> str:
        """One opinion of one thing, said straight or by denying the opposite."""
        degree = self.pick(GRAMMAR["degrees"])
        text = self.pick(GRAMMAR["direct" if self.chance(0.7) else "negated"]).format(
            thing=self.pick(GRAMMAR["things"][category]),
            degree=f"{degree} " if degree else "",
            same=self.adjective(category, positive),
            other=self.adjective(category, not positive),
            told="warned me of" if positive else "promised me",
        )
        return _articles(text)

    def adjective(self, category: str, positive: bool) -> str:
        if self.chance(0.5):
            return self.pick(GRAMMAR["own_adjectives"][positive][category])
        return self.pick(GRAMMAR["adjectives"][positive])


def _articles(text: str) -> str:
    """a -> an before a vowel."""
    words = text.split(" ")
    return " ".join(
        "an" if word == "a" and after[:1] in "aeiou" else word
        for word, after in zip(words, [*words[1:], "-"], strict=True)
    )
