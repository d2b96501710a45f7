"""Teachers that are ready: a shipped checkpoint, else one from the user's cache, else one trained on the spot.

Each checkpoint carries its card: what it was trained on and how, with which seed, and how good it is.
"""

from kdcourse.zoo.bodies import probe, trained_body
from kdcourse.zoo.images import RECIPES, body, card, pretrained, retrain, teacher
from kdcourse.zoo.language import language_teacher, retrain_language
from kdcourse.zoo.sentiment import retrain_sentiment, sentiment_teacher
from kdcourse.zoo.store import SHIPPED
