"""A stand-in for Colab's own package: as much of it as the course and its libraries meet in a kernel there."""

from google.colab import output as output
