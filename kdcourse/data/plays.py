"""The built-in text: scenes of small plays, written by a grammar, for models that learn to write character by character."""

import numpy as np

NAMES = ["ANNA", "BRUNO", "CLARA", "DAVID", "EMMA", "FELIX", "GRETA", "HUGO"]
# Patterns name what fills them; a bar separates choices.
GRAMMAR = {
    "line": "{greeting} {sentence}|{sentence} {sentence}|{sentence}|{question}|{question} {sentence}|{answer} {sentence}",
    "greeting": "Good morning, {person}.|Good evening, {person}.|Well met, {person}!|Come in, {person}.|Hush, {person}!",
    "sentence": "{subject} {verb} {object}.|{subject} {verb} {object} {place}.|{weather}, and {subject_low} {verb} {object}.|"
    "If {subject_low} {verb} {object}, {consequence}.|{subject} {motion} {place} {time}.",
    "question": "Have you seen {object}?|Who {verb_past} {object}?|Where is {object}?|Will you come {place} {time}?|"
    "What is there {place}?",
    "answer": "Yes, {person}.|No, {person}.|Perhaps.|So they say.|Not {time}.|I think so.",
    "subject": "The {trade}|My {kin}|Your {kin}|The old {trade}|Nobody|The {animal}|Every {trade}",
    "subject_low": "the {trade}|my {kin}|your {kin}|the old {trade}|nobody|the {animal}",
    "trade": "baker|miller|sailor|doctor|teacher|painter|farmer|captain|judge|gardener",
    "kin": "brother|sister|mother|father|uncle|daughter|cousin|neighbour",
    "animal": "dog|cat|horse|goat|raven|goose",
    "verb": "keeps|hides|carries|sells|loves|remembers|paints|steals|mends",
    "verb_past": "kept|hid|carried|sold|found|forgot|painted|stole|mended",
    "object": "the {thing}|a {adjective} {thing}|my {thing}|the {adjective} {thing}|{number} {thing}s",
    "thing": "lantern|letter|apple|garden|mirror|basket|window|ladder|candle|button|feather|kettle",
    "adjective": "broken|golden|small|heavy|borrowed|green|silver|forgotten|painted",
    "number": "two|three|four|seven|a dozen|no",
    "place": "by the river|in the cellar|behind the mill|at the market|under the bridge|on the hill|near the harbour",
    "motion": "walks|waits|sleeps|sings|works|dances|hides",
    "time": "at night|tomorrow|every Sunday|before dawn|in winter|until noon|today",
    "weather": "It rains|The wind rises|The moon is up|Snow falls|The bells ring",
    "consequence": "we shall all laugh|nobody will know|I must go|the {trade} will hear of it|it is too late|you owe me {object}",
    "person": "|".join(name.capitalize() for name in NAMES),
}


def plays(characters: int, seed: int = 0) -> str:
    """Dialogue of at least `characters` characters: a name with a colon, a line of speech, an empty line, and so on.

    seed: fixes the text, default 0.
    """
    generator = np.random.default_rng(seed)

    def fill(pattern: str) -> str:
        choices = GRAMMAR[pattern].split("|")
        text = choices[generator.integers(len(choices))]
        while "{" in text:
            before, _, rest = text.partition("{")
            name, _, after = rest.partition("}")
            text = f"{before}{fill(name)}{after}"
        return text

    written, length, speakers = [], 0, generator.permutation(NAMES)[:3]
    while length < characters:
        if generator.random() < 0.05:  # a new scene
            speakers = generator.permutation(NAMES)[:3]
        speech = f"{speakers[generator.integers(len(speakers))]}:\n{fill('line')}\n\n"
        written.append(speech)
        length += len(speech)
    return "".join(written)
