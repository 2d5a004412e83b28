"""Keras's numpy contract, in files by subject."""
# ruff: noqa: I001

from kerasvino.backend.numpy.arithmetic import *
from kerasvino.backend.numpy.bitwise import *
from kerasvino.backend.numpy.comparison import *
from kerasvino.backend.numpy.elementwise import *
from kerasvino.backend.numpy.creation import *
from kerasvino.backend.numpy.diagonals import *
from kerasvino.backend.numpy.sequences import *
from kerasvino.backend.numpy.indexing import *
from kerasvino.backend.numpy.joining import *
from kerasvino.backend.numpy.contraction import einsum
from kerasvino.backend.numpy.linear import *
from kerasvino.backend.numpy.reductions import *
from kerasvino.backend.numpy.sorting import *
from kerasvino.backend.numpy.cumulative import *
from kerasvino.backend.numpy.padding import *
from kerasvino.backend.numpy.shaping import *
from kerasvino.backend.numpy.sets import *
from kerasvino.backend.numpy.statistics import *
from kerasvino.backend.numpy.nan_reductions import *
from kerasvino.backend.numpy.windows import *
from kerasvino.backend.numpy import methods as _methods, operators as _operators  # of Tensor
