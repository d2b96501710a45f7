"""Comparisons that outgrow a lab's minute: run once by `kdcourse results`, shown by the lab, run again in part."""

from importlib import import_module

from kdcourse.studies.engine import Study, family_of, of_lab, seeds_of, study

__all__ = ["Study", "family_of", "of_lab", "seeds_of", "study"]


def __getattr__(name: str):
    """A lab's own module, such as `studies.lab_05`."""
    if name.startswith("lab_"):
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"kdcourse.studies has no {name!r}; it has {', '.join(__all__)} and a module for each lab")
