"""Functions that change how gradients flow: stop_gradient, custom_gradient, remat."""

from __future__ import annotations

import functools

from keras.src import tree
from keras.src.backend.common.variables import Variable as KerasVariable

from kerasvino.autodiff.custom import with_rule
from kerasvino.autodiff.remat import remat as rematerialised
from kerasvino.backend.core.convert import convert_to_tensor
from kerasvino.primitives.elementwise import stop_gradient as stop_gradient_p
from kerasvino.tensor import Tensor

__all__ = ["custom_gradient", "remat", "stop_gradient"]


def stop_gradient(variable):
    """The value of a tensor or variable, through which no gradient flows."""
    return stop_gradient_p(convert_to_tensor(variable))


def custom_gradient(fun):
    """`fun(*args)` returns `(value, grad)`; `grad(*upstream)` the cotangents of the arguments.

    Arguments are nested tensors and variables, of each of which `grad` returns a cotangent; no
    gradient flows to anything else that `fun` uses. Gradients of gradients go through `grad`.
    """
    name = getattr(fun, "__name__", repr(fun))

    @functools.wraps(fun)
    def wrapper(*args, **kwargs):
        def plain(x):
            return x.value if isinstance(x, KerasVariable) else x

        args, kwargs = tree.map_structure(plain, (args, kwargs))
        arguments = [x for x in tree.flatten((args, kwargs)) if isinstance(x, Tensor)]
        value, rule = fun(*args, **kwargs)
        values = [convert_to_tensor(leaf) for leaf in tree.flatten(value)]

        def flat_rule(*upstream):
            cotangents = tree.flatten(rule(*upstream))
            return [None if c is None else convert_to_tensor(c) for c in cotangents]

        return tree.pack_sequence_as(value, with_rule(name, arguments, values, flat_rule))

    return wrapper


def remat(f):
    """`f`, whose intermediate values are not kept for its gradient but computed again.

    Values and gradients are those of `f`. In a compiled graph the second computation waits for the
    gradient to arrive.
    """

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        leaves = tree.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]
        structure = []

        def flat(*tensors):
            filled = list(leaves)
            for place, tensor in zip(places, tensors, strict=True):
                filled[place] = tensor
            inner_args, inner_kwargs = tree.pack_sequence_as((args, kwargs), filled)
            result = f(*inner_args, **inner_kwargs)
            structure.append(result)
            return [leaf for leaf in tree.flatten(result) if isinstance(leaf, Tensor)]

        rest = iter(rematerialised(flat, [leaves[i] for i in places]))
        found = tree.flatten(structure[0])
        packed = [next(rest) if isinstance(leaf, Tensor) else leaf for leaf in found]
        return tree.pack_sequence_as(structure[0], packed)

    return wrapper
