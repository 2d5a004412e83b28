"""The operations in the layout of Keras 3.16: the core functions, and a module for the others."""

from kerasvino.backend.ops import core, image, linalg, math, nn, numpy
from kerasvino.backend.ops.core import *
