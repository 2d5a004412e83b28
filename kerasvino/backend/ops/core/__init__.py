"""Keras's core contract: conversion, variables, shape inference, control flow, scopes."""

from kerasvino.backend.ops.core.associative_scan import associative_scan
from kerasvino.backend.ops.core.control_flow import (
    cond,
    fori_loop,
    map,
    scan,
    switch,
    vectorized_map,
    while_loop,
)
from kerasvino.backend.ops.core.convert import (
    cast,
    convert_to_numpy,
    convert_to_tensor,
    is_tensor,
    shape,
)
from kerasvino.backend.ops.core.gradient import custom_gradient, grad, remat, stop_gradient
from kerasvino.backend.ops.core.scatter import scatter, scatter_update, slice, slice_update, unstack
from kerasvino.backend.ops.core.scopes import device_scope, name_scope, random_seed_dtype
from kerasvino.backend.ops.core.spec import compute_output_spec
from kerasvino.backend.ops.core.variable import Variable

SUPPORTS_SPARSE_TENSORS = False
SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
SUPPORTS_GRADIENT = True
IS_THREAD_SAFE = True
