"""Keras's image contract, in files by subject."""

from kerasvino.backend.image.color import *
from kerasvino.backend.image.resizing import *
