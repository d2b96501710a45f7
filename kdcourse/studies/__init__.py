"""Comparisons that outgrow a lab's minute: run once by `kdcourse results`, shown by the lab, run again in part."""

from kdcourse.studies.engine import Study, of_lab, study

__all__ = ["Study", "of_lab", "study"]
