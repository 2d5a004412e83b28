"""Gradients as Keras asks for them, and what changes how they flow."""

from __future__ import annotations

import functools

from kerasvino import dtypes
from kerasvino.autodiff.custom import with_rule
from kerasvino.autodiff.remat import remat as rematerialised
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.transforms import vjp
from kerasvino.primitives.create import full_like
from kerasvino.primitives.elementwise import stop_gradient as stop_gradient_p
from kerasvino.tensor import Tensor

__all__ = ["custom_gradient", "grad", "remat", "stop_gradient"]


def grad(f, argnums=0):
    """A function that returns the gradient of the sum of `f(*args, **kwargs)`.

    `kerasvino.grad` is the stricter one: it asks for a scalar, as JAX's does.

    Args:
        f: returns a floating-point tensor of any shape.
        argnums: a position, or several as a tuple or list; negative ones count from the end. Each
            names a (nested) floating-point tensor or variable, which `f` receives as a tensor.

    Returns:
        A function with the arguments of `f`. It returns the gradient by the argument, or for
        several `argnums` a tuple of gradients. Where nothing depends on a tensor there are zeros.

    Raises:
        TypeError: `argnums` are no integers; an argument or the result is not floating-point.
        ValueError: `argnums` name an argument that was not given, or one of them twice.
    """

    @functools.wraps(f)
    def function(*args, **kwargs):
        positions = _positions(argnums, len(args))

        def of_chosen(*chosen):
            given = list(args)
            for position, value in zip(positions, chosen, strict=True):
                given[position] = value
            return convert_to_tensor(f(*given, **kwargs))

        value, pull = vjp(of_chosen, *(args[position] for position in positions))
        if dtypes.TABLE[value.dtype].kind != "f":
            raise TypeError(
                f"A gradient is taken of a floating-point result; it is {value.dtype}"
                f"{list(value.shape)}. Cast it to a floating-point dtype."
            )
        found = pull(full_like(value, 1))
        return found if isinstance(argnums, (tuple, list)) else found[0]

    return function


def _positions(argnums, count):
    """`argnums` counted from the start, checked against the number of arguments."""
    several = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
    if not all(isinstance(n, int) for n in several):
        raise TypeError(f"argnums is an integer or a tuple of integers; given: {argnums!r}.")
    if wrong := [n for n in several if not -count <= n < count]:
        raise ValueError(f"argnums {wrong} name no argument: {count} were given by position.")
    positions = [n % count for n in several]
    if len(set(positions)) < len(positions):
        raise ValueError(f"argnums name an argument twice: {argnums!r}.")
    return positions


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
