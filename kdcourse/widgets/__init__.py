"""Live views: thin, over the same arrays and figures that stand in the lab without them.

Only what ipywidgets 7.7 (Colab) and 8 (JupyterLab 4) both have is used. Nothing trains in a callback but the playground's
students: in the browser a few milliseconds of a frame, and in Python, for the still figure, less than a second.
"""

from kdcourse.widgets.classifier import picture_classifier
from kdcourse.widgets.dashboard import Dashboard, dashboard
from kdcourse.widgets.divergence import TwoPeaks, divergence_playground
from kdcourse.widgets.geometry import batch_geometry
from kdcourse.widgets.linked import LinkedView
from kdcourse.widgets.live import LiveFigure, live
from kdcourse.widgets.matcher import layer_matcher
from kdcourse.widgets.mixer import ensemble_mixer
from kdcourse.widgets.playground import playground
from kdcourse.widgets.sentence import sentence_box
from kdcourse.widgets.simplex import loss_landscape
from kdcourse.widgets.sweep import sweep_browser
from kdcourse.widgets.temperature import temperature_explorer
