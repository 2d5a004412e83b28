"""Keras's numpy contract, in files by subject."""
# ruff: noqa: I001

from kerasvino.backend.ops.numpy.arithmetic import *
from kerasvino.backend.ops.numpy.bitwise import *
from kerasvino.backend.ops.numpy.comparison import *
from kerasvino.backend.ops.numpy.elementwise import *
from kerasvino.backend.ops.numpy.creation import *
from kerasvino.backend.ops.numpy.diagonals import *
from kerasvino.backend.ops.numpy.spaced_numbers import *
from kerasvino.backend.ops.numpy.indexing import *
from kerasvino.backend.ops.numpy.joining import *
from kerasvino.backend.ops.numpy.contraction import einsum
from kerasvino.backend.ops.numpy.linear import *
from kerasvino.backend.ops.numpy.reductions import *
from kerasvino.backend.ops.numpy.sorting import *
from kerasvino.backend.ops.numpy.cumulative import *
from kerasvino.backend.ops.numpy.padding import *
from kerasvino.backend.ops.numpy.shaping import *
from kerasvino.backend.ops.numpy.sets import *
from kerasvino.backend.ops.numpy.statistics import *
from kerasvino.backend.ops.numpy.nan_reductions import *
from kerasvino.backend.ops.numpy.windows import *
from kerasvino.backend.ops.numpy import methods as _methods, operators as _operators  # of Tensor
