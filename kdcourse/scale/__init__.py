"""The course at scale: a recipe in YAML, one process or many, and runs that stop and go on."""

from kdcourse.scale.distributed import ProcessLost
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.loop import Stopped
from kdcourse.scale.photographs import train_photographs
from kdcourse.scale.reading import read_recipe, shipped
from kdcourse.scale.recipe import Recipe
from kdcourse.scale.runs import Outcome, train_recipe
