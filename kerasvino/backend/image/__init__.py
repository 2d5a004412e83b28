"""Keras's image contract, in files by subject."""

from kerasvino.backend.image.color import *
from kerasvino.backend.image.filters import *
from kerasvino.backend.image.resizing import *
from kerasvino.backend.image.sampling import *
from kerasvino.backend.image.warps import *
