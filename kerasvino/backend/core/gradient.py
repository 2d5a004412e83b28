"""Functions that change how gradients flow: stop_gradient, custom_gradient, remat."""

from __future__ import annotations

import functools

from keras.src import tree
from keras.src.backend.common.variables import Variable as KerasVariable

from kerasvino.backend.core.convert import convert_to_tensor
from kerasvino.primitives.elementwise import stop_gradient as stop_gradient_p
from kerasvino.tensor import Record, Tensor

__all__ = ["custom_gradient", "remat", "stop_gradient"]


def stop_gradient(variable):
    """The value of a tensor or variable, through which no gradient flows."""
    return stop_gradient_p(convert_to_tensor(variable))


class _CustomRule:
    """Stands in a record for the primitive whose gradient a user's function gives."""

    multiple, sparse = True, False
    nondifferentiable = None
    dynamic = ()

    def __init__(self, function, rule):
        self.name = f"custom_gradient({getattr(function, '__name__', function)})"
        self._rule = rule

    def vjp(self, grads, inputs, outputs):
        cotangents = tree.flatten(self._rule(*grads))
        if len(cotangents) != len(inputs):
            raise ValueError(
                f"The gradient of {self.name} returned {len(cotangents)} values for its "
                f"{len(inputs)} tensor arguments."
            )
        return tuple(cotangents)


def custom_gradient(fun):
    """`fun(*args)` returns `(value, grad)`; `grad(*upstream)` the cotangents of the arguments."""

    @functools.wraps(fun)
    def wrapper(*args, **kwargs):
        def plain(x):
            return x.value if isinstance(x, KerasVariable) else x

        args, kwargs = tree.map_structure(plain, (args, kwargs))
        inputs = tuple(x for x in tree.flatten((args, kwargs)) if isinstance(x, Tensor))
        if all(t.record is None for t in inputs):
            return fun(*args, **kwargs)[0]

        def detached(x):
            return stop_gradient_p(x) if isinstance(x, Tensor) else x

        value, rule = fun(
            *tree.map_structure(detached, args), **tree.map_structure(detached, kwargs)
        )
        outputs = [convert_to_tensor(leaf) for leaf in tree.flatten(value)]
        outputs = tuple(t._restate(dict(t.__dict__)) for t in outputs)
        Record(_CustomRule(fun, rule), inputs, {}).attach(outputs)
        return tree.pack_sequence_as(value, list(outputs))

    return wrapper


def remat(f):
    """`f`, whose intermediate values need not be kept for its gradient.

    Values and gradients are those of `f`; nothing is recomputed as long as nothing is trained.
    """

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        return f(*args, **kwargs)

    return wrapper
