"""Keras's image contract, in files by subject."""
# ruff: noqa: F403

from kerasvino.backend.image.color import *
from kerasvino.backend.image.resizing import *
