"""The bench measures what it says, in turns; no test looks at how long anything took."""

import time
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch

from kdcourse.authoring import notebooks
from kdcourse.bench import report, textbook, training
from kdcourse.bench.memory import peak_mebibytes
from kdcourse.data.splits import standardised
from kdcourse.losses import checks
from kdcourse.models import perceptron

CPU = torch.device("cpu")
SMALL = training.Workload(
    *("small", partial(perceptron, (16,), inputs=48), partial(perceptron, (4,), inputs=48), (3, 4, 4), 64, 3, 16),
    turns=2,
)


def test_every_way_is_measured_beside_the_plain_student():
    costs = training.measure_ways(SMALL, CPU)
    ways = [training.PLAIN, training.CACHED, training.UNCHECKED, training.LIVE, training.TEXTBOOK]
    assert [cost.way for cost in costs] == ways
    assert costs[0].times_plain == 1
    assert all(cost.images_per_second > 0 and cost.mebibytes > 0 and cost.share > 0 for cost in costs)
    with pytest.raises(ValueError, match="turns must be"):
        training.measure_ways(replace(SMALL, turns=0), CPU)


def test_shares_count_the_teachers_work_where_it_answers():
    _, operations = training._ways(SMALL, CPU)
    # Two operations a weight forward; backward as many again, and once more for what a layer's input gets, but the first's.
    student, teacher = 2 * 2 * 48 * 4 + 3 * 2 * 4 * 10, 2 * (48 * 16 + 16 * 10)
    assert operations[training.PLAIN] == operations[training.CACHED] == student
    assert operations[training.LIVE] == operations[training.TEXTBOOK] == student + teacher


def test_a_run_looks_at_values_in_its_first_step_alone_or_not_at_all(monkeypatch):
    def looks(way: str, steps: int) -> int:
        seen = []
        ways, _ = training._ways(replace(SMALL, steps=steps), CPU)
        monkeypatch.setattr(checks, "check_finite", lambda name, tensor: seen.append(name))
        ways[way]()
        return len(seen)

    assert looks(training.CACHED, 1) == looks(training.CACHED, 9) > looks(training.UNCHECKED, 9)


def test_ways_take_turns_and_ratios_are_taken_within_them():
    order = []
    taken = training.by_turns({name: partial(order.append, name) for name in "abc"}, turns=4)
    assert "".join(order) == "abc" + "bca" + "cab" + "abc" and all(len(times) == 4 for times in taken.values())
    assert training.ratio([2.0, 8.0, 90.0], [1.0, 2.0, 30.0]) == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_the_textbook_loop_sees_the_pictures_that_the_split_holds(channels):
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (10, channels, 5, 4), generator=generator, dtype=torch.uint8)
    labels = torch.arange(10)
    split = standardised(raw, labels, (0.5,) * channels, (0.25,) * channels, CPU)
    seen = torch.empty_like(split.images)
    for images, numbers in textbook.loader_of(raw, labels, 0.5, 0.25, batch_size=5):
        seen[numbers] = images
    torch.testing.assert_close(seen, split.images)


def test_the_textbook_loop_learns_from_the_teacher():
    (_, raw), teacher = training._pictures(SMALL, CPU), SMALL.teacher()
    loader = textbook.loader_of(raw, teacher(torch.zeros(64, 3, 4, 4)).argmax(dim=1), 0.5, 0.25, batch_size=16)
    losses = textbook.textbook(SMALL.student(), teacher, loader, steps=200)
    assert len(losses) == 200 and sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_memory_is_looked_at_while_the_call_runs():
    def hold() -> None:
        held = torch.ones(64 * 2**18)
        time.sleep(0.2)  # or on a busy machine nobody looks in time
        held.mul(2)

    assert peak_mebibytes(hold, CPU) > peak_mebibytes(lambda: None, CPU) + 48


def test_what_was_measured_is_kept_by_device_and_shown(tmp_path, monkeypatch):
    ways = [
        training.Cost("pair", training.PLAIN, 8000.0, 1.0, 0.12, 300.0),
        training.Cost("pair", training.CACHED, 7500.0, 1.06, 0.11, 301.0),
        training.Cost("pair", training.TEXTBOOK, 800.0, 10.6, 0.3, 310.0),
    ]
    found = {
        **{"machine": report.machine(CPU), "date": "2026-11-21", "torch": "2.6", "matmul_gflops": 110.0, "turns": 5},
        **{"ways": list(map(asdict, ways))},
    }
    assert "thread" in found["machine"]
    monkeypatch.setattr(report, "KEPT", tmp_path / "bench.json")
    monkeypatch.setattr(report, "KEPT_OF_GPU", tmp_path / "bench-gpu.json")
    assert report.known() == []
    report.keep({**found, "machine": "a GPU"}, torch.device("cuda"))
    report.keep(found, CPU)
    known = report.known()
    assert known == [found, {**found, "machine": "a GPU"}]
    assert report.rows(found)[1] == ("pair", training.CACHED, "7,500", "1.06", "10.0", "11.0", "301")
    text = report.as_markdown(known)
    assert "a GPU; a matrix product reaches 110 GFLOP/s" in text and text.count("| pair |") == 6
    assert "medians of 5 turns or more." in text


def test_readmes_table_is_what_was_measured():
    assert report.as_markdown(report.known()) in (notebooks.ROOT / "README.md").read_text(encoding="utf-8")


def test_the_command_measures_quickly_and_keeps_nothing(monkeypatch):
    from typer.testing import CliRunner

    from kdcourse.cli import app

    monkeypatch.setattr(report, "workloads", lambda device: [SMALL])
    monkeypatch.setattr(report, "keep", lambda *_: pytest.fail("nothing is kept"))
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    said = CliRunner().invoke(app, ["bench", "--quick"])
    assert said.exit_code == 0, said.output
    assert "small: 1 × 2 steps in each way" in said.output and "medians of 1 turns" in said.output
    assert CliRunner().invoke(app, ["bench", "nothing"]).exit_code == 2
