"""kdcourse: the helper package behind an interactive course on knowledge distillation.

The labs say `import kdcourse as kd` and use the names below. Each is loaded when it is first used, so that the import
itself costs little.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Public name -> the module it lives in; a module stands for itself.
_PLACES = {
    "Recipe": "experiment",
    "claim": "intervals",
    "compare": "experiment",
    "difference": "intervals",
    "exercise": "exercises",
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
    "stored": "ledger",
    "say": "runtime",
    "setup": "runtime",
    "finetune": "finetuning",
    "TextRecipe": "finetuning",
    "DistillationTrainer": "trainer",
    "DistillationTrainingArguments": "trainer",
    "TeacherCache": "cache",
    "train": "training",
}
_MODULES = {
    *("compression", "costs", "data", "deployment", "exercises", "experiment", "export", "losses", "measure"),
    *("methods", "models", "plots", "schemes", "studies", "tapping", "training", "tuning", "widgets", "zoo"),
}

__all__ = sorted({"__version__", *_PLACES, *_MODULES})

if TYPE_CHECKING:
    from kdcourse import (
        compression,
        costs,
        data,
        deployment,
        exercises,
        experiment,
        export,
        losses,
        measure,
        methods,
        models,
        plots,
        schemes,
        studies,
        tapping,
        training,
        tuning,
        widgets,
        zoo,
    )
    from kdcourse.cache import TeacherCache
    from kdcourse.data import load_characters, load_images, load_texts
    from kdcourse.exercises import exercise, quiz
    from kdcourse.experiment import Recipe, compare
    from kdcourse.finetuning import TextRecipe, finetune
    from kdcourse.intervals import claim, difference
    from kdcourse.ledger import stored
    from kdcourse.methods import (
        Correlation,
        Decoupled,
        Distillation,
        HardTarget,
        LogitMSE,
        SoftTarget,
        StandardizedSoftTarget,
    )
    from kdcourse.runtime import say, setup
    from kdcourse.studies import study
    from kdcourse.trainer import DistillationTrainer, DistillationTrainingArguments
    from kdcourse.training import train


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _PLACES:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    raise AttributeError(f"kdcourse has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
