"""Colab's page draws widgets of other packages only when each view it is sent carries the address of a manager for them."""

from IPython import get_ipython

WIDGET = "application/vnd.jupyter.widget-view+json"
_installed_url = None  # anywidget reads this name


def enable_custom_widget_manager() -> None:
    global _installed_url
    if _installed_url is None:
        _installed_url = "https://colab.invalid/manager.js"
        get_ipython().display_pub.register_hook(_name_the_manager)


def _name_the_manager(message: dict) -> dict:
    content = message.get("content") or {}
    if WIDGET in content.get("data", {}):
        manager = {"custom_widget_manager": {"url": _installed_url}}
        content.setdefault("metadata", {}).setdefault(WIDGET, {})["colab"] = manager
    return message
