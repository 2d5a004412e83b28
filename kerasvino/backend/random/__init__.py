"""Keras's random contract over the counter-based generator: the same bits eager and traced.

Every function draws its key from the seed (an int, or a `SeedGenerator`, whose state advances, in a
compiled program too) and is a pure function of it. Integer bits agree exactly; floats computed from
them (logarithms, the inverse error function) to the last digits of float32, in which all but the
uniform numbers of float64 are computed.
"""

from kerasvino.backend.keras_private import SeedGenerator, draw_seed, make_default_seed
from kerasvino.backend.random.binomial import *
from kerasvino.backend.random.choices import *
from kerasvino.backend.random.distributions import *
from kerasvino.backend.random.gamma import *
