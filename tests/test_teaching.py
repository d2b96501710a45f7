"""The teaching guides say what the labs say: titles, exercises, minutes, mistakes, and the verdicts of the stored results."""

import re
from itertools import combinations

import pytest

import kdcourse as kd
from kdcourse.authoring import notebooks
from kdcourse.exercises.engine import all_exercises
from kdcourse.experiments.ledger import STAND_INS

LABS = notebooks.labs()
FOLDER = notebooks.ROOT / "docs" / "teaching"
PARTS = ("## Minutes", "## Before class", "## What goes wrong", "## Ask", "## The honest failure")
LINK = re.compile(r"\]\(([^)]+)\)")
MISTAKE = re.compile(r"^- ((?:\*[^*]+\*(?:, )?)+) \(([^)]+)\):", re.MULTILINE)
VERDICT = re.compile(r"^\| `([\w-]+)` \| `([^`]+)` against `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
MEASURED = re.compile(r"\d\s*(?:%|per ?cent|points?\b)", re.IGNORECASE)
DATA = {title: name for name, title in STAND_INS.items()}  # others are called by their own name
WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "twelve": 12}


def read(lab: notebooks.Lab) -> str:
    return (FOLDER / f"{lab.source.stem}.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the page's tables."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def plan(text: str) -> dict[str, list[int]]:
    """The table of minutes: what is done -> its minutes in each version; "what" holds the versions themselves."""
    part = text.split("## Minutes")[1].split("## ")[0]
    return {what: [0 if cell == "–" else int(cell) for cell in rest] for what, *rest in rows(part) if what[0] != "-"}


def stated_minutes(lab: notebooks.Lab) -> int:
    return int(re.search(r"\*\*Time:\*\* (\d+) minutes", lab.source.read_text(encoding="utf-8"))[1])


def needed(lab: notebooks.Lab) -> list[str]:
    return re.findall(r"\d\d", re.search(r"\*\*You need\*\* ([^.]*)", lab.source.read_text(encoding="utf-8"))[1])


def exercises(lab: notebooks.Lab) -> dict[str, object]:
    return {name: card for name, card in all_exercises().items() if name.startswith(f"{lab.number}.")}


def verdicts() -> list[tuple[str, str, str, str, str]]:
    """Every verdict that a guide names: the comparison, its data, the arm, its baseline, the words."""
    found = []
    for page in sorted(FOLDER.glob("[0-9]*.md")):
        text = page.read_text(encoding="utf-8")
        sets = next((row[2:] for row in rows(text) if row[0] == "stored"), [])
        for name, arm, baseline, *words in VERDICT.findall(text):
            found += [(name, DATA.get(data, data), arm, baseline, word) for data, word in zip(sets, words, strict=True)]
    return found


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_a_guide_has_its_labs_title_and_all_parts(lab):
    text = read(lab)
    assert text.startswith(f"# Lab {lab.number}: [{lab.title}](../../notebooks/{lab.notebook.name})\n")
    assert re.findall(r"^## .+$", text, re.MULTILINE) == list(PARTS)
    lines = text.splitlines()
    assert 40 <= len(lines) <= 70 and max(map(len, lines)) <= 130


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_minutes_add_up_to_what_the_lab_states(lab):
    table = plan(read(lab))
    versions, total = table.pop("what"), table.pop("in all")
    assert sorted(versions) == versions and set(versions) == {30, stated_minutes(lab), 90}
    assert total == versions == [sum(column) for column in zip(*table.values(), strict=True)]


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_plan_gives_every_exercise_the_time_on_its_card(lab):
    table = plan(read(lab))
    full = table["what"].index(stated_minutes(lab))
    planned = {name: (what, table[what][full]) for what in table for name in re.findall(r"`(\d\d\.\w+)`", what)}
    assert set(planned) == set(exercises(lab))
    for what, minutes in set(planned.values()):
        asked = sum(WORDS[exercises(lab)[name].minutes.split()[0]] for name in planned if planned[name][0] == what)
        assert minutes >= asked, f"{what}: the cards ask for {asked} minutes"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_mistakes_are_those_that_the_checks_know(lab):
    text = read(lab).split("## What goes wrong")[1].split("## ")[0]
    found = MISTAKE.findall(text)
    assert len(found) == text.count("\n- *") >= 3
    for mistakes, names in found:
        for name in re.findall(r"`([^`]+)`", names):
            known = [mistake.name for mistake in exercises(lab)[name].mistakes]
            for mistake in re.findall(r"\*([^*]+)\*", mistakes):
                assert mistake in known, f"{name} knows no mistake called {mistake!r}"


@pytest.mark.parametrize(("name", "data", "arm", "baseline", "word"), verdicts())
def test_a_verdict_is_what_the_stored_interval_says(name, data, arm, baseline, word):
    assert (notebooks.ROOT / "results" / f"{name}-{data}.json").is_file()
    assert kd.stored(name, data).difference(arm, baseline).verdict == word


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_every_row_of_verdicts_is_read(lab):
    text = read(lab)
    assert len(VERDICT.findall(text)) == text.count(f"\n| `{lab.number}-")


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_no_measured_number_is_typed_and_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert not MEASURED.findall(text)
    built = {lab.notebook.resolve() for lab in LABS}
    for link in LINK.findall(text):
        target = (page.parent / link.split("#")[0]).resolve()
        assert target in built or target.is_file(), f"{link} leads nowhere"


def test_no_two_guides_share_a_sentence():
    def sentences(text: str) -> set[str]:
        prose = [line for line in text.splitlines() if line and line[0] not in "|#"]
        return {part for part in re.split(r"(?<=[.:?!])\s+", " ".join(prose)) if len(part) > 30}

    pages = {page.name: sentences(page.read_text(encoding="utf-8")) for page in FOLDER.glob("*.md")}
    for one, other in combinations(pages, 2):
        assert not pages[one] & pages[other], f"{one} and {other}"


def test_the_overview_lists_every_lab_with_its_minutes_and_needs():
    listed = {row[0]: row for row in rows((FOLDER / "README.md").read_text(encoding="utf-8")) if row[0].startswith("[")}
    assert list(listed) == [f"[{lab.number}]({lab.source.stem}.md)" for lab in LABS]
    for lab, row in zip(LABS, listed.values(), strict=True):
        assert (row[1], int(row[2])) == (lab.title, stated_minutes(lab))
        assert re.findall(r"\d\d", row[3]) == needed(lab)


def test_instructors_are_led_to_the_guides():
    for page in ("README.md", "docs/architecture.md"):
        assert "docs/teaching" in (notebooks.ROOT / page).read_text(encoding="utf-8")
