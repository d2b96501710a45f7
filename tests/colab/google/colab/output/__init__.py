"""What Colab shows of widgets that are not ipywidgets' own."""

from google.colab.output._widgets import enable_custom_widget_manager as enable_custom_widget_manager
