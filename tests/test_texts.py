"""Sentences by name, built in or read; what is refused, and that their sentiment is no bag of words."""

import csv
import io
import os
from pathlib import Path

import pytest
import torch

from kdcourse.data import DownloadError, Sentences, load_texts, texts
from kdcourse.data.reviews import CATEGORIES, reviews

real = pytest.mark.skipif(not os.environ.get("KDCOURSE_DATA"), reason="needs the folder in KDCOURSE_DATA")


@pytest.fixture
def folder(tmp_path):
    """A data set of one's own: forty training sentences, four of them in the test split too."""

    def write(name, rows):
        (tmp_path / name).write_text("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))

    write("train.tsv", [(f'a "{word}" film number {n}', n % 2) for n in range(20) for word in ("fine", "dull")])
    write("dev.tsv", [(f'a "fine" film number {n}', n % 2) for n in range(4)])
    return tmp_path


def test_reviews_are_the_same_for_the_same_seed_and_all_different():
    one, other = reviews(400, seed=3), reviews(400, seed=3)
    assert one == other and len({review.text for review in one}) == 400
    assert reviews(400, seed=4) != one
    assert sum(review.positive for review in one) == 200
    assert {review.category for review in one} == set(CATEGORIES)
    with pytest.raises(ValueError, match="categories must be among films, books, kitchen, electronics, got 'cars'"):
        reviews(1, categories=("cars",))


def test_the_built_in_splits_share_no_sentence():
    data = load_texts("reviews")
    parts = [set(getattr(data, part).texts) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == list(texts.BUILT_IN.values())
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_sentiment_is_not_a_bag_of_words():
    """A linear model of word counts, trained until it has learnt what it can, stays far from what a teacher reaches."""
    data = load_texts("reviews")
    words = sorted({word for text in data.train.texts for word in text.split()})
    column = {word: number for number, word in enumerate(words)}

    def counts(split):
        table = torch.zeros(len(split), len(words))
        for row, text in enumerate(split.texts):
            for word in text.split():
                if word in column:
                    table[row, column[word]] += 1
        return table

    model = torch.nn.Linear(len(words), 2)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    inputs = counts(data.train)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), data.train.labels).backward()
        optimizer.step()
    right = (model(counts(data.test)).argmax(1) == data.test.labels).float().mean()
    assert 0.55 < right < 0.85


def test_a_folder_of_ones_own(folder, capsys):
    data = load_texts(folder)
    assert len(data.test) == 4 and data.name == folder.name
    assert len(data.train) + len(data.validation) == 36, "sentences that the test split holds are dropped"
    assert all('"' in text for text in data.train.texts), "quotation marks are text"
    assert "from your folder: 33 training, 3 validation and 4 test sentences" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "sentence\tlabel\nfine\t2\n",
            "train.tsv must have a sentence and the label 0 or 1 in each line, got 'fine', '2'",
        ),
        ("sentence\tlabel\n\t1\n", "got '', '1' in line 2"),
        ("text\tlabel\nfine\t1\n", "no sentence in: text, label"),
        ("sentence\tlabel\n", "train.tsv must hold sentences below its first line"),
        ("sentence\tlabel\nfine\t1\n", "at least 20 sentences that the test split does not, got 1"),
    ],
)
def test_a_broken_table_is_named(folder, content, message):
    (folder / "train.tsv").write_text(content)
    with pytest.raises(ValueError, match=message):
        load_texts(folder)


def test_a_folder_without_tables_and_an_unknown_name(tmp_path):
    with pytest.raises(ValueError, match=r"must hold train\.tsv and dev\.tsv"):
        load_texts(tmp_path)
    with pytest.raises(
        ValueError, match="name must be one of sst2, reviews, product-reviews, or the path of a folder, got"
    ):
        load_texts("imdb")


def test_without_a_network_the_built_in_reviews_stand_in(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("KDCOURSE_DATA", raising=False)
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))

    def unreachable(files, folder):
        raise DownloadError("none of its hosts can be reached")

    monkeypatch.setattr(texts, "fetch", unreachable)
    assert load_texts("sst2").name == "reviews"
    assert "SST-2 could not be had (none of its hosts can be reached); using the built-in" in capsys.readouterr().out
    assert load_texts("product-reviews").name == "reviews"
    with pytest.raises(DownloadError, match="SST-2 could not be had"):
        load_texts("sst2", fallback=False)


@real
def test_sst2_is_read_whole_and_its_test_sentences_are_nowhere_else():
    data = load_texts("sst2", fallback=False)
    assert len(data.test) == 872 and len(data.validation) == texts.VALIDATION
    assert not set(data.test.texts) & (set(data.train.texts) | set(data.validation.texts))
    assert load_texts("sst2").train is data.train


@real
def test_a_damaged_copy_is_not_read(monkeypatch, tmp_path, capsys):
    source = Path(os.environ["KDCOURSE_DATA"])
    (tmp_path / "sst2").mkdir()
    for name in texts.SST2_FILES:
        content = bytearray((source / "sst2" / name).read_bytes())
        content[1000] ^= 1
        (tmp_path / "sst2" / name).write_bytes(content)
    monkeypatch.setenv("KDCOURSE_DATA", str(tmp_path))
    monkeypatch.setenv("KDCOURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(texts, "fetch", lambda files, folder: (_ for _ in ()).throw(DownloadError("no network")))
    assert load_texts("sst2").name == "reviews"
    assert "SST-2 in the folder in KDCOURSE_DATA is not the original" in capsys.readouterr().out


@real
def test_product_reviews_have_categories():
    data = load_texts("product-reviews")
    assert set(data.train.categories) == {"books", "dvd", "electronics", "kitchen"}
    assert len(data.test.about("kitchen")) == 300
    assert not set(data.test.texts) & set(data.train.texts)
    with pytest.raises(ValueError, match="categories must be among books, dvd, electronics, kitchen, got 'films'"):
        data.test.about("films")


def test_sentences_are_chosen_and_checked():
    split = Sentences(tuple(f"sentence {n}" for n in range(10)), torch.tensor([0] * 8 + [1] * 2))
    assert split.sample(4).labels.bincount().tolist() == [2, 2]
    assert split.take(torch.tensor([3, 1])).texts == ("sentence 3", "sentence 1")
    assert split.unlabelled().labels is None and split.fingerprint != split.unlabelled().fingerprint
    with pytest.raises(ValueError, match="count must be a whole number from 1 to 10"):
        split.sample(11)
    with pytest.raises(ValueError, match="no labels, so sample"):
        split.unlabelled().sample(2)
    with pytest.raises(ValueError, match="texts must all hold words, got ' ' at position 1"):
        Sentences(("fine", " "))
    with pytest.raises(ValueError, match="labels must be 0 or 1, got values from 0 to 2"):
        Sentences(("fine", "dull"), torch.tensor([0, 2]))
    with pytest.raises(ValueError, match=r"labels must be \(2,\), one a text, got \(1,\)"):
        Sentences(("fine", "dull"), torch.tensor([0]))


def own_table(rows, head="sentence\tlabel"):
    return head + "\n" + "".join(f"{text}\t{label}\n" for text, label in rows)


SIXTY = [(f"a film number {number} that is {'fine' if number % 2 else 'dull'}", number % 2) for number in range(60)]


def own(folder, train, encoding="utf-8"):
    folder.mkdir(exist_ok=True)
    for name, content in (("train.tsv", train), ("dev.tsv", own_table([("some", 0), ("thing", 1)]))):
        (folder / name).write_bytes(content.encode(encoding))
    return load_texts(folder)


def texts_of(data):
    return {*data.train.texts, *data.validation.texts}


def written(rows):
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter="\t", lineterminator="\n").writerows([("sentence", "label"), *rows])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "encoding", "text"),
    [
        (own_table(SIXTY), "utf-8-sig", SIXTY[3][0]),
        (own_table([*SIXTY, ("long " * 28_000, 1)]), "utf-8", ("long " * 28_000).strip()),
        (written([*SIXTY, ('he said "superb" twice', 1)]), "utf-8", 'he said "superb" twice'),
        (written([*SIXTY, ("two\tcolumns of joy", 1)]), "utf-8", "two\tcolumns of joy"),
        (own_table([*SIXTY, ('"quoted from end to end"', 1)]), "utf-8", '"quoted from end to end"'),
        (own_table([*SIXTY, ('an " alone', 1)]), "utf-8", 'an " alone'),
    ],
    ids=["BOM", "long", "doubled quotes", "a quoted tab", "quotes of its own", "one quote"],
)
def test_tables_are_read_as_they_come_out_of_spreadsheets(tmp_path, content, encoding, text):
    assert text in texts_of(own(tmp_path / "mine", content, encoding))


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (own_table(SIXTY), "utf-16", "train.tsv must be in UTF-8, got other bytes in line 1"),
        (own_table([*SIXTY, ("très bête", 0)]), "latin-1", "train.tsv must be in UTF-8, got other bytes in line 62"),
        (
            own_table(SIXTY, "text\tlabel"),
            "utf-8",
            "the columns sentence and label in its first line; no sentence in: text",
        ),
        (
            own_table(SIXTY, "sentence,label").replace("\t", ","),
            "utf-8",
            "parted by tabs; no label in: sentence,label",
        ),
        (own_table([*SIXTY[::2], ("only praise", 1)]), "utf-8", "at least two positive sentences, .* got 1"),
    ],
    ids=["UTF-16", "Latin-1", "other columns", "commas", "a rare class"],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, content, encoding, message):
    with pytest.raises(ValueError, match=message):
        own(tmp_path / "mine", content, encoding)


def test_repeated_and_contradictory_texts_are_counted_aloud(tmp_path, capsys):
    data = own(tmp_path / "mine", own_table([*SIXTY, *SIXTY[:7], ("same words", 0), ("same words", 1)]))
    said = capsys.readouterr().out
    assert "same words" not in texts_of(data) and len(texts_of(data)) == 60
    assert "both labels stand beside it: 'same words'." in said and "7 duplicate lines of train.tsv count once." in said


def test_a_mended_file_is_read_again(tmp_path):
    own(tmp_path / "mine", own_table(SIXTY))
    mended = own(tmp_path / "mine", own_table([(text.replace("film", "play"), label) for text, label in SIXTY]))
    assert all("play" in text for text in texts_of(mended))


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        ("abc", None, "texts must be a tuple of strings, got one string"),
        (("a", "b"), [0, 1], r"labels must be a tensor \(2,\) of whole numbers 0 and 1, got list"),
        (
            ("a", "b"),
            torch.tensor([0.5, 1]),
            r"labels must be a tensor \(2,\) of whole numbers 0 and 1, got torch.float32",
        ),
    ],
)
def test_sentences_of_another_form_are_refused(texts, labels, message):
    with pytest.raises(ValueError, match=message):
        Sentences(texts, labels)
