"""The built-in sentences: short reviews of films, books, kitchen ware and electronics, written by a small grammar.

A review's sentiment is what the grammar meant, never what its words add up to: negation turns an adjective round, *although*
and *but* say which half counts, a verdict overrules mixed feelings. A model that only counts words cannot do well.
"""

from dataclasses import dataclass

import numpy as np

CATEGORIES = ("films", "books", "kitchen", "electronics")
THINGS = {
    "films": "film plot cast ending lead|actor dialogue soundtrack director script finale camera|man opening villain romance",
    "books": "book story prologue first|chapter translation heroine argument epilogue style hero cover narrator final|chapter",
    "kitchen": "pan kettle handle lid blade coating rice|cooker grinder knife thermostat toaster spout whisk finish",
    "electronics": "screen battery speaker keyboard camera charger headset microphone app signal cable display remote",
}
GOOD = (
    "good great excellent wonderful impressive convincing delightful pleasant clever lovely superb solid charming brilliant fine "
    "remarkable satisfying splendid admirable stunning likeable graceful outstanding perfect enjoyable"
)
BAD = (
    "bad poor awful terrible disappointing clumsy tedious annoying dull sloppy dreadful weak ugly mediocre useless "
    "horrible pathetic frustrating miserable careless unpleasant tiresome shabby hopeless lousy"
)
# Words that say something of one category only: what does not carry over from one to another.
GOOD_BY_CATEGORY = {
    "films": "gripping touching funny subtle suspenseful heart-warming spectacular tender well-acted",
    "books": "insightful readable moving witty well-researched lyrical thought-provoking lucid eloquent",
    "kitchen": "sturdy sharp non-stick heavy-duty easy|to|clean rustproof durable airtight well-balanced",
    "electronics": "fast crisp responsive long-lasting reliable quiet waterproof energy-saving intuitive",
}
BAD_BY_CATEGORY = {
    "films": "predictable wooden overlong sentimental lifeless cliched melodramatic badly|acted incoherent",
    "books": "long-winded preachy unreadable shallow repetitive pretentious confused badly|edited humourless",
    "kitchen": "flimsy blunt leaky rusty wobbly greasy brittle scratched lopsided",
    "electronics": "slow noisy laggy overheating unreliable blurry power-hungry faulty tinny",
}
DEGREES = ["", "really", "truly", "very", "quite", "rather", "simply", "so"]
DIRECT = (
    "the {thing} is {degree}{same} · I find the {thing} {degree}{same} · what a {same} {thing} · "
    "the {thing} turned out {degree}{same}"
)
NEGATED = (
    "the {thing} is not {other} · the {thing} is far from {other} · the {thing} is anything but {other} · "
    "there is nothing {other} about the {thing} · nobody could call the {thing} {other} · the {thing} is never {other} · "
    "I expected a {other} {thing} and was wrong · they {told} a {other} {thing} ; it is nothing of the kind · "
    "the {thing} is hardly {other}"
)
CONTRASTS = (
    "although {against} , {for_} · {against} , but {for_} · {for_} , even though {against} · {against} ; still , {for_} · "
    "despite what people say , {for_} · granted , {against} , yet {for_} · it may be that {against} , but {for_}"
)
VERDICTS = {
    True: "I would buy it again · worth every cent · I do not regret it · I cannot recommend it enough · a keeper · "
    "I have no complaints · go and get it · I have never been happier with a purchase · do not miss it · "
    "I would not give it back",
    False: "I would not buy it again · not worth a cent · I regret it · I cannot recommend it · it goes back to the shop · "
    "I have nothing but complaints · do not get it · I have never been less happy with a purchase · give it a miss · "
    "I want my money back",
}
SUMMARY = (
    "all in all , {verdict} · {verdict} · in the end , {verdict} · my verdict : {verdict} · after a month , {verdict}"
)


@dataclass(frozen=True)
class Review:
    """text: in lower case, words and marks set apart by spaces. positive: what was meant. category: one of `CATEGORIES`."""

    text: str
    positive: bool
    category: str


def reviews(count: int, seed: int = 0, categories: tuple[str, ...] = CATEGORIES) -> list[Review]:
    """`count` different reviews, half of them positive, the categories in turn; the same for the same seed.

    Raises `ValueError` for an unknown category.
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

    def pick(self, choices: str | list[str]) -> str:
        """One of several words, or of several patterns between dots; a bar within a word stands for a space."""
        if isinstance(choices, str):
            choices = choices.split(" · ") if " · " in choices else choices.split()
        return choices[self.generator.integers(len(choices))].replace("|", " ")

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
            text = f"{opening} . {self.pick(SUMMARY).format(verdict=self.pick(VERDICTS[positive]))}"
        return f"{text} .".lower()

    def contrast(self, category: str, positive: bool) -> str:
        return self.pick(CONTRASTS).format(
            for_=self.clause(category, positive), against=self.clause(category, not positive)
        )

    def clause(self, category: str, positive: bool) -> str:
        """One opinion of one thing, said straight or by denying the opposite."""
        degree = self.pick(DEGREES)
        text = self.pick(DIRECT if self.chance(0.7) else NEGATED).format(
            thing=self.pick(THINGS[category]),
            degree=f"{degree} " if degree else "",
            same=self.adjective(category, positive),
            other=self.adjective(category, not positive),
            told="warned me of" if positive else "promised me",
        )
        return _articles(text)

    def adjective(self, category: str, positive: bool) -> str:
        every, own = (GOOD, GOOD_BY_CATEGORY) if positive else (BAD, BAD_BY_CATEGORY)
        return self.pick(own[category] if self.chance(0.5) else every)


def _articles(text: str) -> str:
    """a -> an before a vowel."""
    words = text.split(" ")
    return " ".join(
        "an" if word == "a" and after[:1] in "aeiou" else word
        for word, after in zip(words, [*words[1:], "-"], strict=True)
    )
