"""Transformations of functions, with the names and the meaning that they have in JAX.

Arguments and results may be nested. On concrete tensors everything is computed at once, so that the
function may print and branch; traced, it becomes part of the graph. Orders nest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from kerasvino import dtypes
from kerasvino.autodiff import Recording, leave, pullback
from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.primitives.create import zeros_like
from kerasvino.tensor import Tensor

__all__ = ["grad", "gradients", "jvp", "value_and_grad", "vjp", "watching"]


def watching(variables: Sequence) -> Recording:
    """A recording that watches the reads of `variables`."""
    wanted = {id(v) for v in variables}
    return Recording(lambda variable: id(variable) in wanted)


def gradients(recording: Recording, outputs, cotangents, sources) -> list[Tensor | None]:
    """Cotangents of `sources`, each a tensor or a variable that `recording` watched.

    That of a variable is the sum over the values that it had; None where nothing depends on it.
    """
    inputs = [[s] if isinstance(s, Tensor) else recording.twins(s) for s in sources]
    flat = [t for group in inputs for t in group]
    found = iter(pullback(outputs, cotangents, flat, recording))
    results = []
    for group in inputs:
        arrived = [g for g in [next(found) for _ in group] if g is not None]
        results.append(functools.reduce(lambda a, b: a + b, arrived) if arrived else None)
    return results


def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    *,
    variables: Sequence[Any] | None = None,
) -> Callable[..., Any]:
    """A function that returns `(fun(...), gradient)`.

    Args:
        fun: returns a scalar; with `has_aux`, a pair of it and something else, whose pair with the
            gradient is then returned: `((value, aux), gradient)`.
        argnums: the arguments to differentiate by: nested structures of floating-point tensors.
            Default: the first, or none if there are `variables`.
        variables: `keras.Variable`s that `fun` reads, to differentiate by. The gradient is then a
            list like it, or with `argnums` the pair `(of the arguments, of the variables)`.

    Raises:
        TypeError: `fun` returns no floating-point scalar, or an argument to differentiate by is not
            floating-point.
        NotDifferentiableError: an operation on the way has no gradient.
    """
    if argnums is None and variables is None:
        argnums = 0
    numbers = () if argnums is None else (argnums,) if isinstance(argnums, int) else tuple(argnums)
    variables = None if variables is None else list(variables)

    @functools.wraps(fun)
    def function(*args, **kwargs):
        recording = watching(variables or ())
        try:
            with recording:
                args = list(args)
                for n in numbers:
                    args[n] = _watched(recording, args[n])
                result = fun(*args, **kwargs)
            value, aux = result if has_aux else (result, None)
            value = _scalar(value)
            leaves = [leaf for n in numbers for leaf in tree.flatten(args[n]) if leaf is not None]
            sources = [*leaves, *(variables or ())]
            one = convert_to_tensor(1, value.dtype)
            found = gradients(recording, [value], [one], sources)
        finally:
            recording.close()
        filled = [
            zeros_like(leave(convert_to_tensor(s))) if g is None else leave(g)
            for g, s in zip(found, sources, strict=True)
        ]
        rest = iter(filled)
        of_arguments = tuple(_like(args[n], rest) for n in numbers)
        if isinstance(argnums, int):
            of_arguments = of_arguments[0]
        value, aux = leave(value), _left(aux)
        if variables is None:
            gradient = of_arguments
        else:
            gradient = list(rest) if argnums is None else (of_arguments, list(rest))
        return ((value, aux), gradient) if has_aux else (value, gradient)

    return function


def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] | None = None,
    has_aux: bool = False,
    *,
    variables: Sequence[Any] | None = None,
) -> Callable[..., Any]:
    """A function that returns the gradient of `fun`; with `has_aux`, `(gradient, aux)`.

    Arguments and errors are those of `value_and_grad`.
    """
    both = value_and_grad(fun, argnums, has_aux, variables=variables)

    @functools.wraps(fun)
    def function(*args, **kwargs):
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return function


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """`(fun(*primals), pullback)`; with `has_aux`, `(value, pullback, aux)`.

    `pullback(cotangents)`, of the structure, shapes and dtypes of the value, returns a tuple of
    cotangents of the primals.

    Raises:
        TypeError: a primal is not floating-point, or cotangents do not match the value.
    """
    recording = Recording()
    with recording:
        inputs = _watched(recording, primals)
        result = fun(*inputs)
    value, aux = result if has_aux else (result, None)
    outputs = _tensors(value)

    def pull(cotangents):
        given = _matching(cotangents, value, outputs, "cotangent")
        leaves = [t for t in tree.flatten(inputs) if t is not None]
        found = pullback(outputs, given, leaves, recording)
        rest = iter(
            zeros_like(leave(t)) if g is None else leave(g)
            for g, t in zip(found, leaves, strict=True)
        )
        return _like(inputs, rest)

    left = _left(value)
    return (left, pull, _left(aux)) if has_aux else (left, pull)


def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """`(fun(*primals), its derivative in the direction of tangents)`; with `has_aux`, also aux.

    Forward mode by two reverse passes: cotangents are linear in what they start from, and the
    pullback of that linear map is the derivative.

    Raises:
        TypeError: a primal is not floating-point, or tangents do not match the primals.
    """
    primals = tuple(primals)
    recording, second = Recording(), Recording()
    with recording:
        inputs = _watched(recording, primals)
        result = fun(*inputs)
    value, aux = result if has_aux else (result, None)
    outputs = _tensors(value)
    leaves = [t for t in tree.flatten(inputs) if t is not None]
    given = _matching(tuple(tangents), inputs, leaves, "tangent")
    with second:
        starts = [second.watch(zeros_like(leave(t))) for t in outputs]
        arrived = pullback(outputs, starts, leaves, recording)
    connected = [(a, t) for a, t in zip(arrived, given, strict=True) if a is not None]
    found = pullback([a for a, _ in connected], [t for _, t in connected], starts, second)
    recording.close()
    second.close()
    rest = iter(
        zeros_like(leave(t)) if g is None else leave(g) for g, t in zip(found, outputs, strict=True)
    )
    moved = _like(value, rest)
    left = _left(value)
    return (left, moved, _left(aux)) if has_aux else (left, moved)


def _watched(recording, structure):
    def watch(leaf):
        if leaf is None:
            return None
        tensor = convert_to_tensor(leaf)
        if dtypes.TABLE[tensor.dtype].kind not in "fc":
            raise TypeError(
                f"Derivatives are taken by floating-point tensors; given: {tensor.dtype}"
                f"{list(tensor.shape)}. Cast it, or leave it out of `argnums`."
            )
        return recording.watch(tensor)

    return tree.map_structure(watch, structure)


def _scalar(value):
    if not isinstance(value, Tensor):
        value = convert_to_tensor(value)
    if value.shape != () or dtypes.TABLE[value.dtype].kind != "f":
        raise TypeError(
            "A gradient is taken of a function that returns one floating-point scalar; it returned "
            f"{value.dtype}{list(value.shape)}. Reduce it (keras.ops.sum), return further results "
            "with has_aux=True, or use vjp."
        )
    return value


def _tensors(structure):
    return [convert_to_tensor(leaf) for leaf in tree.flatten(structure) if leaf is not None]


def _matching(given, like, tensors, what):
    """The leaves of `given` as tensors, checked against `tensors`, the leaves of `like`."""
    try:
        tree.assert_same_structure(given, like)
    except ValueError as error:
        raise TypeError(
            f"The structure of the {what}s is not that of the values: {error}"
        ) from None
    found = _tensors(given)
    for a, b in zip(found, tensors, strict=True):
        if a.shape != b.shape or a.dtype != b.dtype:
            raise TypeError(
                f"A {what} of {a.dtype}{list(a.shape)} was given for {b.dtype}{list(b.shape)}."
            )
    return found


def _like(structure, rest):
    """`structure` with its leaves, except None, replaced by those of the iterator `rest`."""
    return tree.map_structure(lambda leaf: None if leaf is None else next(rest), structure)


def _left(structure):
    return tree.map_structure(lambda x: leave(x) if isinstance(x, Tensor) else x, structure)
