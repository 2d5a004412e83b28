"""Keras's numpy contract, in files by subject."""
# ruff: noqa: F403, F401, I001

from kerasvino.backend.numpy.arithmetic import *
from kerasvino.backend.numpy.bitwise import *
from kerasvino.backend.numpy.comparison import *
from kerasvino.backend.numpy.elementwise import *
from kerasvino.backend.numpy import operators as _operators  # registers them on Tensor
