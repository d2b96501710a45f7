"""kdcourse: the helper package behind an interactive course on knowledge distillation.

The labs say `import kdcourse as kd` and use the names below. Each is loaded when it is first used, so that the import
itself costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Public name -> the module it lives in.
_PLACES = {
    "Recipe": "experiments.experiment",
    "at_full_size": "experiments.full_size",
    "audit": "review.audit",
    "claim": "evaluation.intervals",
    "compare": "experiments.experiment",
    "diagnose": "review.diagnose",
    "difference": "evaluation.intervals",
    "exercise": "exercises",
    "predict": "exercises",
    "quiz": "exercises",
    "Correlation": "methods",
    "Decoupled": "methods",
    "Distillation": "methods",
    "HardTarget": "methods",
    "LogitMSE": "methods",
    "SoftTarget": "methods",
    "StandardizedSoftTarget": "methods",
    "load_characters": "data",
    "load_images": "data",
    "load_texts": "data",
    "study": "studies",
    "stored": "experiments.ledger",
    "need": "system.runtime",
    "say": "system.runtime",
    "verbatim": "system.markup",
    "setup": "system.runtime",
    "finetune": "training.finetuning",
    "TextRecipe": "experiments.experiment",
    "DistillationTrainer": "training.trainer",
    "DistillationTrainingArguments": "training.trainer",
    "TeacherCache": "training.cache",
    "train": "training.loop",
}
# Public module -> where it lies.
_MODULES = {
    **{name: name for name in ("data", "deployment", "exercises", "losses", "methods", "models", "plots")},
    **{name: name for name in ("studies", "training", "widgets", "zoo")},
    **{name: f"deployment.{name}" for name in ("compression", "export")},
    **{name: f"evaluation.{name}" for name in ("costs", "deciding", "measure", "speculative")},
    **{name: f"experiments.{name}" for name in ("defences", "experiment", "interface", "schemes", "tuning")},
    "tapping": "models.tapping",
}

__all__ = sorted({"__version__", *_PLACES, *_MODULES})

if TYPE_CHECKING:
    from kdcourse import data, deployment, exercises, losses, methods, models, plots, studies, training, widgets, zoo
    from kdcourse.data import load_characters, load_images, load_texts
    from kdcourse.deployment import compression, export
    from kdcourse.evaluation import costs, deciding, measure, speculative
    from kdcourse.evaluation.intervals import claim, difference
    from kdcourse.exercises import exercise, predict, quiz
    from kdcourse.experiments import defences, experiment, interface, schemes, tuning
    from kdcourse.experiments.experiment import Recipe, TextRecipe, compare
    from kdcourse.experiments.full_size import at_full_size
    from kdcourse.experiments.ledger import stored
    from kdcourse.methods import (
        Correlation,
        Decoupled,
        Distillation,
        HardTarget,
        LogitMSE,
        SoftTarget,
        StandardizedSoftTarget,
    )
    from kdcourse.models import tapping
    from kdcourse.review import audit, diagnose
    from kdcourse.studies import study
    from kdcourse.system.markup import verbatim
    from kdcourse.system.runtime import need, say, setup
    from kdcourse.training.cache import TeacherCache
    from kdcourse.training.finetuning import finetune
    from kdcourse.training.loop import train
    from kdcourse.training.trainer import DistillationTrainer, DistillationTrainingArguments


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"{__name__}.{_MODULES[name]}")
    if name in _PLACES:
        return getattr(_loaded(_PLACES[name]), name)
    raise AttributeError(f"kdcourse has no {name!r}; it has {', '.join(__all__)}")


def _loaded(place: str):
    """The module; where it needs a package of an extra that is missing, the error says how to get it."""
    try:
        return import_module(f"{__name__}.{place}")
    except ModuleNotFoundError as error:
        from kdcourse.system.runtime import need

        need(error.name)
        raise


def __dir__() -> list[str]:
    return __all__
