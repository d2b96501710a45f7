"""The one training loop, the teacher's cached answers, and sentences through `transformers`' own Trainer."""

from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import Evaluate, History, TrainingState, batches, train
