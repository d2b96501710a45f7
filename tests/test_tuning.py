"""A search goes on where it stopped; the front keeps what is worth its cost."""

import subprocess
import sys

import numpy as np
import pytest
import torch

optuna = pytest.importorskip("optuna")

import kdcourse as kd  # noqa: E402
from kdcourse.experiments import tuning  # noqa: E402
from kdcourse.training import Evaluate  # noqa: E402


def objective(trial):
    return -((trial.suggest_float("x", -5, 5) - 1) ** 2)


def values(study):
    return [trial.params["x"] for trial in tuning.finished(study)]


def test_an_interrupted_search_resumes_where_it_stopped(tmp_path, capsys):
    asked = []

    def interrupted(trial):
        asked.append(trial.number)
        score = objective(trial)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return score

    first = tuning.search(interrupted, 8, name="toy", file=tmp_path / "toy.log", progress=False)
    assert len(tuning.finished(first)) == 3 and "3 of 8 trials are kept" in capsys.readouterr().out
    kept = values(first)
    resumed = tuning.search(interrupted, 8, name="toy", file=tmp_path / "toy.log", progress=False)
    assert "3 of 8 trials were there already" in capsys.readouterr().out
    assert len(asked) == 4 + 5, "only what was missing has run"
    assert values(resumed)[:3] == kept and len(values(resumed)) == 8 and len(set(values(resumed))) == 8


def test_a_trial_that_was_cut_short_is_none(tmp_path, capsys):
    """Its training is stopped, not the search's own code: a student of half the steps would be judged as a whole one."""
    split = kd.data.table().train.take(torch.arange(64))
    asked = []

    def trained(trial):
        def look(state):
            if trial.number == 2 and state.step == 3:
                raise KeyboardInterrupt

        asked.append(trial.number)
        student = kd.models.perceptron((4,), classes=3, inputs=20)
        kd.train(student, split, steps=5, batch_size=8, callbacks=[look], progress=False)
        return objective(trial)

    study = tuning.search(trained, 6, name="cut", file=tmp_path / "cut.log", progress=False)
    assert asked == [0, 1, 2] and len(tuning.finished(study)) == 2
    assert "2 of 6 trials are kept" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damage", [b'{"op_code": 6, "work', b"\x00\x00\n", b"\xff\xfe"], ids=["half", "zeros", "bytes"]
)
def test_a_damaged_line_costs_no_other(damage, tmp_path, capsys):
    file = tmp_path / "toy.log"
    kept = values(tuning.search(objective, 4, name="toy", file=file, progress=False))
    file.write_bytes(file.read_bytes() + damage)
    resumed = tuning.search(objective, 6, name="toy", file=file, progress=False)
    assert values(resumed)[:4] == kept and len(values(resumed)) == 6
    said = capsys.readouterr().out
    assert "toy.log had 1 damaged line" in said and "4 of 6 trials were there already" in said
    assert (tmp_path / "toy.damaged").read_bytes().endswith(damage)
    assert values(tuning.search(objective, 6, name="toy", file=file, progress=False)) == values(resumed)


def test_a_search_that_was_killed_resumes(tmp_path):
    script = """
import os, signal, sys
from kdcourse.experiments import tuning
seen = []
def objective(trial):
    seen.append(1)
    if len(seen) == 4:
        os._exit(9)
    return -(trial.suggest_float("x", -5, 5) - 1) ** 2
tuning.search(objective, 8, name="toy", file=sys.argv[1], progress=False)
"""
    file = tmp_path / "toy.log"
    assert subprocess.run([sys.executable, "-c", script, str(file)]).returncode == 9
    study = tuning.search(objective, 8, name="toy", file=file, progress=False)
    assert len(tuning.finished(study)) == 8
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    assert optuna.trial.TrialState.RUNNING not in states


def test_a_finished_search_runs_nothing(tmp_path):
    tuning.search(objective, 3, name="toy", file=tmp_path / "toy.log", progress=False)
    again = tuning.search(lambda trial: 1 / 0, 3, name="toy", file=tmp_path / "toy.log", progress=False)
    assert len(tuning.finished(again)) == 3
    with pytest.raises(ValueError, match="trials must be a whole number of at least 1, got 0"):
        tuning.search(objective, 0, name="toy", file=tmp_path / "toy.log")


def test_hopeless_trials_are_pruned_through_the_training_loop(tmp_path):
    from tests.test_experiment import toy

    split, validation = toy(100, 0), toy(60, 1)

    def training(trial):
        rate = trial.suggest_categorical("rate", [1e-2, 1e-9])

        def report(step, accuracy):
            trial.report(accuracy, step)
            if trial.should_prune():
                raise optuna.TrialPruned

        student = kd.models.perceptron((8,), classes=3, inputs=16, seed=trial.number)
        history = kd.train(
            student, split, steps=60, learning_rate=rate,
            callbacks=[Evaluate(validation, every=20, report=report)], progress=False,
        )  # fmt: skip
        return history.evaluations[-1][1]

    study = tuning.search(training, 14, name="pruned", file=tmp_path / "pruned.log", progress=False)
    pruned = [trial for trial in tuning.finished(study) if trial.state == optuna.trial.TrialState.PRUNED]
    assert pruned and all(max(trial.intermediate_values) < 60 for trial in pruned)


def test_the_front_is_what_no_other_beats():
    costs, scores = np.array([1.0, 2, 3, 4, 5, 2]), np.array([70.0, 75, 74, 80, 79, 73])
    assert tuning.front(costs, scores).tolist() == [0, 1, 3]
    assert tuning.front([3.0, 3.0], [1.0, 2.0]).tolist() == [1]
    with pytest.raises(ValueError, match="costs and scores must be"):
        tuning.front([1.0], [1.0, 2.0])


def test_the_front_agrees_with_the_labs_reference():
    import torch

    generator = torch.Generator().manual_seed(0)
    costs, scores = torch.rand(2, 40, generator=generator)
    mask = kd.exercise("10.worth_their_cost")(costs, scores)
    assert sorted(tuning.front(costs, scores).tolist()) == mask.nonzero()[:, 0].tolist()


def test_a_search_needs_no_symbolic_links(tmp_path, monkeypatch):
    """On Windows only administrators may make them."""

    def refused(*_, **__):
        raise OSError(1314, "a required privilege is not held by the client")

    monkeypatch.setattr("os.symlink", refused)
    study = tuning.search(objective, 3, name="toy", file=tmp_path / "toy.log", progress=False)
    assert len(tuning.finished(study)) == 3
