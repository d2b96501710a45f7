"""The sentence box: the models' own answers, in words and in bars; no key piles up, and nothing to read is no error."""

import re
import sys
import threading
import time

import numpy as np
import pytest
import torch
from scipy import special

from kdcourse import widgets
from kdcourse.bench import browser
from kdcourse.plots.palette import clipped
from kdcourse.widgets.sentence import ask, describe, sentence_box
from kdcourse.widgets.wording import fixed
from tests import in_browser

CLASSES = ["negative", "positive"]


def counts(texts):
    """Logits: how often each text says bad and good."""
    return torch.tensor([[float(text.count("bad")), float(text.count("good"))] for text in texts])


class Gullible:
    def predict(self, texts):
        return counts(texts) + torch.tensor([0.0, 1.5])


class Brief(Gullible):
    """Says how much it reads, as a `SentimentClassifier` does."""

    longest = 3

    def is_cut(self, text):
        return len(text.split()) > self.longest


PAIR = {"teacher": counts, "student": Gullible()}
START = "bad, bad, bad"


@pytest.fixture
def box():
    return sentence_box(PAIR, CLASSES, sentence=START)


@pytest.fixture
def shown(monkeypatch):
    """The sentence under the still figure: as it is shown, and as often as it is put in its place."""
    sent = []

    class Handle:
        def update(self, bundle, raw):
            sent.append(bundle["text/plain"])

    def display(bundle, raw, display_id=None):
        sent.append(bundle["text/plain"])
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    return sent


# What is said


def test_it_answers_what_is_typed_and_says_who_disagrees(box):
    assert box.description == "“bad, bad, bad” teacher: negative 95.3 %; student: negative 81.8 %. They agree."
    box.controls["sentence"].value = "bad"  # as typing does
    assert (
        box.description
        == "“bad” teacher: negative 73.1 %; student: positive 62.2 %. They part ways: student disagrees with teacher."
    )
    box.move(sentence="good")
    assert box.description == "“good” teacher: positive 73.1 %; student: positive 92.4 %. They agree."
    assert box.view.asked["sentence"] == box.controls["sentence"].value == "good"


@pytest.mark.parametrize("sentence", ["", " ", "\t"])
def test_where_there_is_nothing_to_read_nobody_is_asked(box, sentence):
    box.move(sentence=sentence)
    assert box.view.asked == {"sentence": sentence, "answers": []}
    assert box.description == "There is nothing to read: type a sentence." and len(box.figure.png()) > 500
    assert sentence_box(PAIR, CLASSES).description == box.description


def test_the_numbers_are_the_models_own():
    asked = ask({"alone": Gullible()}, CLASSES, "good")
    (answer,) = asked["answers"]
    np.testing.assert_allclose(answer["probabilities"], special.softmax([0.0, 2.5]), atol=1e-6)
    assert answer["milliseconds"] > 0 and answer["cut"] == 0
    assert describe(CLASSES, asked) == "“good” alone: positive 92.4 %."


def test_a_text_that_is_cut_is_said_to_be():
    box = sentence_box({"one": Brief(), "two": Brief()}, CLASSES, sentence="good good good")
    assert "token" not in box.description
    box.move(sentence="good good good bad")
    assert box.description.endswith(" They agree. Only the first 3 tokens are read.")
    mixed = sentence_box({"brief": Brief(), "patient": counts}, CLASSES, sentence="good good good bad")
    assert mixed.description.endswith(" They agree. Cut short: brief after 3 tokens.")


def test_the_words_do_not_depend_on_the_time_taken():
    once, again = (ask(PAIR, CLASSES, START) for _ in range(2))
    assert describe(CLASSES, once) == describe(CLASSES, again)
    assert len({answer["milliseconds"] for asked in (once, again) for answer in asked["answers"]}) > 1


def test_quotes_are_short_and_the_figure_survives_mathematics(box):
    box.move(sentence="$5 is _good_ & <b>bad</b> $^ " * 9)
    assert f"“{'$5 is _good_ & <b>bad</b> $^ ' * 3}"[:60] + "…”" in box.description
    assert len(box.figure.png()) > 2000
    assert clipped("12345", 5) == "12345" and clipped("123456", 5) == "1234…"


# Keys, threads, pages


def test_keys_that_come_meanwhile_share_one_answer():
    at_work, go_on, read, threads = threading.Event(), threading.Event(), [], []

    def slow(texts):
        read.extend(texts)
        at_work.set()
        assert go_on.wait(10)
        return counts(texts)

    go_on.set()
    box = sentence_box({"slow": slow}, CLASSES)
    go_on.clear()
    at_work.clear()
    read.clear()
    for typed in ("g", "go", "goo", "good", "good f", "good fi"):
        threads.append(threading.Thread(target=box.controls["sentence"].set_trait, args=("value", typed)))
        threads[-1].start()
        assert at_work.wait(10)
        while box.controls["sentence"].value != typed:
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert read == ["g", "good fi"] and box.view.asked["sentence"] == "good fi"


def test_a_model_that_fails_is_heard_and_asked_again():
    ill = []

    def fickle(texts):
        return counts(texts) if not ill else 1 / 0

    box = sentence_box({"fickle": fickle}, CLASSES)
    ill.append("today")
    with pytest.raises(ZeroDivisionError):
        box.move(sentence="good")
    ill.clear()
    box.answer()
    assert box.view.asked["sentence"] == "good"


def test_the_page_without_a_kernel_keeps_the_last_answers_and_says_so(box, shown):
    box._ipython_display_()
    needs_a_kernel = " To answer another sentence the models need a kernel: run this cell in a notebook."
    assert shown[-1] == (
        f"“bad, bad, bad” teacher: negative 95.3 %; student: negative 81.8 %. They agree.{needs_a_kernel}"
    )
    box.move(sentence="good")
    assert shown[-1].startswith("“good”") and shown[-1].endswith(needs_a_kernel)
    sent = len(shown)
    box.controls["sentence"].value = "bad"
    assert len(shown) == sent, "a key does not wait for the still figure"
    box.view.rested = "bad"  # as the browser does after a second
    assert shown[-1].startswith("“bad”") and len(shown) == sent + 1


def test_without_anywidget_python_draws(box, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    still = sentence_box(PAIR, CLASSES, sentence=START)
    assert isinstance(still, widgets.LiveFigure)
    for sentence in ("bad", "", START):
        for either in (still, box):
            either.move(sentence=sentence)
        assert still.description == box.description


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        ("models must be at least one", {"models": {}}),
        ("models must be at least one", {"models": counts}),
        ("models must predict.*got int for 'two'", {"models": {"one": counts, "two": 2}}),
        ("logits of 'teacher' must be .*, got shape", {"classes": ["negative", "neutral", "positive"]}),
        ("logits of 'odd' must hold finite", {"models": {"odd": lambda texts: torch.full((1, 2), torch.nan)}}),
        ("classes must be two names or more", {"classes": ["all"]}),
        ("sentence must be a text, got 3", {"sentence": 3}),
    ],
)
def test_errors_name_the_argument(words, changed):
    with pytest.raises(ValueError, match=words):
        sentence_box(**{"models": PAIR, "classes": CLASSES, "sentence": "", **changed})


def test_move_refuses_what_no_hand_could_type(box):
    with pytest.raises(ValueError, match="sentence must be a value"):
        box.move(sentence=3)
    with pytest.raises(ValueError, match="text"):
        box.move(text="good")


# In the browser


def cases() -> list:
    three = {**PAIR, "one that doubts": lambda texts: 0.1 * counts(texts), "all in one": lambda texts: -counts(texts)}
    sentences = ["", "bad", "good", START, "bad good", "𝒷𝒶𝒹 bad 🎬 " * 12, "good " * 99, "x" * 60, "x" * 61]
    asked = [ask(some, CLASSES, sentence) for some in ({"alone": counts}, PAIR, three) for sentence in sentences]
    for number, one in enumerate(asked[-9:]):
        for answer in one["answers"][: number % 5]:
            answer["cut"] = 64
    return [[CLASSES, one] for one in asked]


@in_browser.needed
def test_browser_and_python_say_the_same_sentence():
    assert in_browser.call("sentence", "all => kd.describe(...all)", cases()) == [describe(*case) for case in cases()]


@pytest.mark.browser
@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: the drawing is not looked at")
def test_the_drawing_follows_the_answers(box):
    with browser.page() as tab:
        in_browser.mount(tab, "sentence", box.view)
        quickly = []
        for sentence, starred in (("bad", 2), ("", 0), ("good", 2)):
            box.move(sentence=sentence)
            quickly.insert(0, box.view.asked)
            tab.evaluate("asked => model.set('asked', asked)", box.view.asked)
            assert tab.locator("p").inner_text() == box.description
            assert tab.locator("svg text", has_text=re.compile("★")).count() == starred
            assert tab.locator("svg text", has_text="disagrees").count() == (sentence == "bad")
            times = [f"answers in {fixed(answer['milliseconds'], 1)} ms" for answer in box.view.asked["answers"]]
            assert tab.locator("svg text", has_text="answers in").all_text_contents() == times
        tab.wait_for_function("model.get('rested') === 'good'")
        before = tab.evaluate("window.saved")
        tab.evaluate("all => all.forEach(asked => model.set('asked', asked))", quickly)
        tab.wait_for_function("before => model.get('rested') === 'bad' && window.saved === before + 1", arg=before)
        tab.evaluate("end()")
        assert tab.evaluate("listeners()") == 0 and browser.problems(tab) == []
