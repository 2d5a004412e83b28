"""Keras's math contract, in files by subject."""

from kerasvino.backend.math.fourier import *
from kerasvino.backend.math.fourier import _get_complex_tensor_from_tuple
from kerasvino.backend.math.frames import *
from kerasvino.backend.math.functions import *
from kerasvino.backend.math.segments import *
from kerasvino.backend.math.selection import *
