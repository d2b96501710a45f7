"""A student on its way to people: made smaller, exported, and described by a card."""

from kdcourse.deployment.card import Deployed, model_card, pixels
