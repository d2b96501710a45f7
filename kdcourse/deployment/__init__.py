"""A student on its way to people: made smaller, exported, described by a card and defended in a memo."""

from kdcourse.deployment.card import Deployed, Judged, model_card, pixels, written_card
from kdcourse.deployment.memo import deployment_memo
