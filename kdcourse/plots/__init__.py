"""Figures: arrays in, `Figure` out, each with one sentence that says what it shows.

The sentence is computed from the same arrays and becomes the picture's alternative text. Figures are opaque and light, so
that they stay readable on a dark page; colours are safe for colour-blind readers, and never the only signal. Arrays may be
tensors on any device. Every function raises `ValueError` for shapes that do not fit together.
"""

from kdcourse.plots.answers import (
    distribution,
    distributions,
    entropy,
    opinions,
    soft_labels,
    softened,
    temperature_limits,
)
from kdcourse.plots.basic import (
    comparison,
    curves,
    gradient_scale,
    history,
    lines,
    pictures,
    rankings,
    similarity,
    two_similarities,
)
from kdcourse.plots.deciding import coverage
from kdcourse.plots.grids import priced, sweep, traced
from kdcourse.plots.inside import alignment, neighbours, pixel_maps, relations
from kdcourse.plots.paired import estimation
from kdcourse.plots.palette import Figure
from kdcourse.plots.plane import landscape, profiles, triangles
from kdcourse.plots.regions import decisions, regions
from kdcourse.plots.schemes import (
    adopted,
    disagreement,
    front,
    mixture,
    per_class,
    reliability,
    teacher_and_student,
)
