"""Keras's nn contract, in files by subject."""

from kerasvino.backend.ops.nn.activations import *
from kerasvino.backend.ops.nn.attention import *
from kerasvino.backend.ops.nn.convolution import *
from kerasvino.backend.ops.nn.ctc import *
from kerasvino.backend.ops.nn.encoding import *
from kerasvino.backend.ops.nn.losses import *
from kerasvino.backend.ops.nn.normalization import *
from kerasvino.backend.ops.nn.patches import *
from kerasvino.backend.ops.nn.pooling import *
