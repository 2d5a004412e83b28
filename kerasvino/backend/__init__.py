"""Keras's backend contract, module for module, over kerasvino's primitives."""

from kerasvino.backend import distribution_lib, ops, random, rnn
from kerasvino.backend.extensions import install as _install_extensions
from kerasvino.backend.keras_private import PLUGGABLE as _PLUGGABLE
from kerasvino.backend.ops import core, image, linalg, math, nn, numpy
from kerasvino.backend.ops.core import (
    IS_THREAD_SAFE,
    SUPPORTS_COMPLEX_DTYPES,
    SUPPORTS_GRADIENT,
    SUPPORTS_RAGGED_TENSORS,
    SUPPORTS_SPARSE_TENSORS,
    Variable,
    cast,
    compute_output_spec,
    cond,
    convert_to_numpy,
    convert_to_tensor,
    device_scope,
    is_tensor,
    name_scope,
    random_seed_dtype,
    scatter,
    shape,
    stop_gradient,
    vectorized_map,
)
from kerasvino.runtime import eager as _eager  # registers what runs concrete primitives

if not _PLUGGABLE:  # Keras 3.15 reads these here; its `rnn` is the function, not the module
    from kerasvino.backend.rnn import (
        bidirectional_gru,
        bidirectional_lstm,
        cudnn_ok,
        gru,
        lstm,
        rnn,
    )

_install_extensions()
