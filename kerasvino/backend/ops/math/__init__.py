"""Keras's math contract, in files by subject."""

from kerasvino.backend.ops.math.fourier import *
from kerasvino.backend.ops.math.fourier import _get_complex_tensor_from_tuple
from kerasvino.backend.ops.math.frames import *
from kerasvino.backend.ops.math.functions import *
from kerasvino.backend.ops.math.segments import *
from kerasvino.backend.ops.math.top_k import *
