"""A student on its way to people: made smaller, exported, and described by a card."""

from kdcourse.deployment.card import Deployed, Judged, model_card, pixels, written_card
