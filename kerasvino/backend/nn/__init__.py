"""Keras's nn contract, in files by subject."""

from kerasvino.backend.nn.activations import *
from kerasvino.backend.nn.attention import *
from kerasvino.backend.nn.convolution import *
from kerasvino.backend.nn.ctc import *
from kerasvino.backend.nn.encoding import *
from kerasvino.backend.nn.losses import *
from kerasvino.backend.nn.normalization import *
from kerasvino.backend.nn.patches import *
from kerasvino.backend.nn.pooling import *
