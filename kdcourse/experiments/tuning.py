"""Search for settings: trials in a file that an interrupted search goes on from, and what is worth its cost.

The search itself is optuna's; here are the file, the resuming and the front.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kdcourse.plots.palette import array
from kdcourse.system.arguments import whole_number
from kdcourse.system.storage import cache_folder, write_safely
from kdcourse.training.loop import whole_runs

if TYPE_CHECKING:
    import optuna

SEED = 0


@whole_runs()
def search(
    objective: "Callable[[optuna.Trial], float]",
    trials: int,
    *,
    name: str,
    file: str | Path | None = None,
    progress: bool = True,
) -> "optuna.Study":
    """Search for the settings with the highest score, and go on from a file where some trials are there already.

    objective: as optuna wants it: takes a trial, asks it for settings, returns a score; may report steps and raise
        `optuna.TrialPruned`. trials: how many there are to be in all, finished or pruned, those in the file included.
    name: the study's. file: a journal, default `searches/<name>.log` in the cache folder. Each trial is written when it
        ends, so that an interrupt, or a killed kernel, loses the trial at hand and no other. progress: whether a bar is shown,
        default True.
    Settings are proposed by optuna's tree-structured Parzen estimator after five random trials. Raises `ValueError` for fewer
    than one trial. Source: Akiba, Sano, Yanase, Ohta, Koyama (2019), *Optuna*; Bergstra et al. (2011) for the estimator.
    """
    import optuna

    trials = whole_number("trials", trials)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = Path(file) if file is not None else cache_folder() / "searches" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    _leave_out_half_lines(path)
    # Locked by a file: optuna's default lock is a symbolic link, which Windows lets only administrators make.
    lock = optuna.storages.journal.JournalFileOpenLock(str(path))
    journal = optuna.storages.journal.JournalFileBackend(str(path), lock)
    study = optuna.create_study(
        study_name=name,
        storage=optuna.storages.JournalStorage(journal),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    done = finished(study)
    # Seeded by how many trials are done, so that a resumed search does not draw its first settings again.
    study.sampler = optuna.samplers.TPESampler(seed=SEED + len(done), n_startup_trials=5)
    if done:
        print(f"{path.name}: {len(done)} of {trials} trials were there already.")
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)  # its run was cut off
    if len(done) < trials:
        try:
            study.optimize(objective, n_trials=trials - len(done), show_progress_bar=progress)
        except KeyboardInterrupt:
            print(
                f"Interrupted: {len(finished(study))} of {trials} trials are kept in {path.name}; run again to go on."
            )
    return study


def _leave_out_half_lines(path: Path) -> None:
    """A journal has an entry in each line; one that a killed process wrote in part would end every later search."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith(b"\n") and _is_json(line)]
    if len(whole) < len(lines):
        kept = path.with_suffix(".damaged")
        write_safely(kept, lambda temporary: temporary.write_bytes(b"".join(lines)))
        write_safely(path, lambda temporary: temporary.write_bytes(b"".join(whole)))
        print(
            f"{path.name} had {len(lines) - len(whole)} damaged lines, which are left out; {kept.name} is the file as it was."
        )


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def finished(study: "optuna.Study") -> list:
    """The trials that ended, completed or pruned, in order."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def front(costs, scores) -> np.ndarray:
    """Positions of what is worth its cost, cheapest first: nothing that costs as much or less has a higher score.

    costs, scores: (K,), of K candidates. Returns (F,) int64. Raises `ValueError` for other shapes and for no candidate.
    """
    costs, scores = array(costs).astype(float), array(scores).astype(float)
    if costs.ndim != 1 or costs.shape != scores.shape or not len(costs):
        raise ValueError(f"costs and scores must be (K,) and (K,), got shapes {costs.shape} and {scores.shape}")
    kept, best = [], -np.inf
    for place in np.lexsort((-scores, costs)):
        if scores[place] > best:
            kept.append(place)
            best = scores[place]
    return np.array(kept)
