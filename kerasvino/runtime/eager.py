"""Eager programs: one primitive, compiled for the shapes it is called with, in a bounded cache."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from kerasvino.graph import Spec, trace
from kerasvino.locks import lock
from kerasvino.primitives.core import Primitive, register_eager
from kerasvino.runtime import config, forking
from kerasvino.runtime.program import Program
from kerasvino.tensor import Tensor

__all__ = ["CAPACITY", "clear", "run"]

CAPACITY = 512
_programs: OrderedDict[tuple, Program] = OrderedDict()
_lock = lock()


def run(primitive: Primitive, inputs: tuple[Tensor, ...], attrs: dict):
    """Runs a primitive on concrete tensors through its lowering."""
    settings = config.get()
    signature = tuple((t._array.shape, t._array.dtype) for t in inputs)
    key = (primitive.name, _frozen(attrs), signature, settings.key)
    with _lock:
        program = _programs.get(key)
        if program is not None:
            _programs.move_to_end(key)
    if program is None:
        program = _build(primitive, inputs, attrs, settings)
        with _lock:
            _programs[key] = program
            while len(_programs) > CAPACITY:
                _programs.popitem(last=False)
    arrays = [t._array for t in inputs] + [held._value._array for held in program.graph.reads]
    results = [Tensor._wrap(array) for array in program(arrays)]
    return tuple(results) if primitive.multiple else results[0]


def clear() -> None:
    """Drops every cached program."""
    with _lock:
        _programs.clear()


def _build(primitive, inputs, attrs, settings):
    def function(*tensors):
        result = primitive._traced(tensors, attrs)
        return result if primitive.multiple else [result]

    graph = trace(function, [Spec(t.shape, t.dtype) for t in inputs], primitive.name)
    return Program(graph, settings, {})


def _frozen(value):
    """A hashable form of attributes that distinguishes 1, 1.0 and True."""
    if isinstance(value, dict):
        return tuple((k, _frozen(v)) for k, v in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return type(value), repr(value) if isinstance(value, float) else value


forking.on_new_process(_programs.clear)
config.check_environment()
register_eager(run, config.eager_compiled())
