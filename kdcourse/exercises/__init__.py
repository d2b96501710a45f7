"""Exercise cards, quizzes and local progress."""

from kdcourse.exercises.engine import exercise
from kdcourse.exercises.quiz import quiz
