"""Looks over what a reader brings: a loss (`audit`), or a student that is not better (`diagnose`)."""

from kdcourse.review.audit import audit
from kdcourse.review.diagnose import diagnose
