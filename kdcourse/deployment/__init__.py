"""A student on its way to people: made smaller, exported, and described by a card."""

from kdcourse.deployment.card import Deployed, model_card, pixels

__all__ = ["Deployed", "model_card", "pixels"]
