"""Exercise cards, predictions, quizzes and local progress."""

from kdcourse.exercises.engine import exercise
from kdcourse.exercises.predictions import predict
from kdcourse.exercises.quiz import quiz
