"""The exercises of lab 10, Tune temperature and alpha."""

import torch

from kdcourse.exercises.engine import define
from kdcourse.exercises.probing import values


def _scores(seed: int, runs: int = 5, settings: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    true = 80 + torch.rand(settings, generator=generator, dtype=torch.float64)
    return tuple(true + 1.5 * torch.randn(runs, settings, generator=generator, dtype=torch.float64) for _ in range(2))


def _pairs(answer, cases) -> dict[str, object]:
    """What two-part answers hold, as one tensor each."""
    return {
        key: torch.stack([torch.as_tensor(part, dtype=torch.float64).reshape(()) for part in found])
        if isinstance(found, tuple)
        else found
        for key, found in values(answer, cases).items()
    }


@define(
    "10.choose_setting",
    goal="Seeds × settings, on validation and on test: the setting with the best mean validation, and its mean test score.",
    difficulty="easy, and the rule that is broken most often",
    minutes="five minutes",
    hints=("validation.mean(dim=0) is one number for each setting; argmax is the choice.",
           "The test scores are looked at once, at the chosen setting: test[:, choice].mean()."),
    probe=lambda answer: _pairs(answer, [_scores(0), _scores(1), _scores(2)]),
)  # fmt: skip
def choose_setting(validation, test):
    choice = validation.mean(dim=0).argmax()
    return choice, test[:, choice].mean()


@choose_setting.mistake(
    "chosen on the test data",
    "The best of many test numbers is partly luck: on new data this setting will score lower.",
)
def _on_test(validation, test):
    choice = test.mean(dim=0).argmax()
    return choice, test[:, choice].mean()


@choose_setting.mistake("chosen by the best single seed", "One lucky run decides then: compare means over seeds.")
def _lucky(validation, test):
    choice = validation.max(dim=0).values.argmax()
    return choice, test[:, choice].mean()


@choose_setting.mistake(
    "the validation score is reported", "It was used to choose, so it is optimistic too: report test."
)
def _reports_validation(validation, test):
    choice = validation.mean(dim=0).argmax()
    return choice, validation[:, choice].mean()


@choose_setting.mistake("the best test seed is reported", "The mean over seeds is the result; the best seed is luck.")
def _best_seed(validation, test):
    choice = validation.mean(dim=0).argmax()
    return choice, test[:, choice].max()


def _candidates() -> list[tuple]:
    return [
        (torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([70.0, 75, 74, 80, 79])),
        (torch.tensor([9.0, 3, 5, 3, 7]), torch.tensor([81.0, 70, 82, 72, 82])),
    ]


@define(
    "10.worth_their_cost",
    goal="A mask (K,): True where no other candidate is at most as costly and at least as good, and strictly better in one.",
    difficulty="moderate",
    minutes="eight minutes",
    hints=("Compare all pairs: costs[None] <= costs[:, None] is True at [i, j] when j is at most as costly as i.",
           "j beats i when it is at most as costly and at least as good, and strictly better in cost or in score.",
           "i is worth its cost when no j beats it: ~beaten.any(dim=1)."),
    cases=_candidates,
)  # fmt: skip
def worth_their_cost(costs, scores):
    no_dearer, no_worse = costs[None] <= costs[:, None], scores[None] >= scores[:, None]
    strictly = (costs[None] < costs[:, None]) | (scores[None] > scores[:, None])
    return ~(no_dearer & no_worse & strictly).any(dim=1)


@worth_their_cost.mistake("the best score only", "A cheaper candidate with a lower score may be worth its cost too.")
def _best_only(costs, scores):
    return scores == scores.max()


@worth_their_cost.mistake("the beaten ones", "That is the other half: negate the mask.")
def _negated(costs, scores):
    return ~worth_their_cost(costs, scores)


@worth_their_cost.mistake("every candidate beats itself", "Each is as cheap and as good as itself: one must be strict.")
def _itself(costs, scores):
    return ~((costs[None] <= costs[:, None]) & (scores[None] >= scores[:, None])).any(dim=1)


@worth_their_cost.mistake("the dearer ones are kept", "Low cost is good: at most as costly is <=.")
def _dearer(costs, scores):
    return worth_their_cost(-costs, scores)
