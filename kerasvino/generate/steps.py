"""A model's step with a cache, `call_with_cache`, as a program that keeps the cache itself.

The cache that KerasHub hands from step to step becomes state of the infer request: a run reads the
past of the rows it is told and appends what is new. Each `Steps` is of one model and one method;
each signature of the method's other arguments has a program of its own, for any length and batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.version import Version
from kerasvino.generate.contract import FIXED, SHAPED
from kerasvino.graph import Graph, Spec, trace
from kerasvino.locks import rlock
from kerasvino.primitives.indexing import END, slice_
from kerasvino.primitives.memory import Kept, NotAppended
from kerasvino.primitives.shape import dimension, lengths, squeeze
from kerasvino.runtime import config
from kerasvino.runtime.specialisation import Invalidations, Specialisation
from kerasvino.tensor import Tensor

__all__ = ["Steps"]

# What tracing a step may raise where its cache or a length is not what the code expects. An error
# of another cause comes again when the whole of the generation is traced instead.
_REFUSED = (TypeError, ValueError, IndexError, ArithmeticError, AttributeError, RuntimeError)


class Steps:
    """The programs of a model's step.

    Args:
        model: a weak reference to the task.
        call: `call(**arguments)` -> (logits, hidden states, cache, …) on tensors.
        ids, cache, index: what the arguments are called that are the new tokens, the cache, and the
            position of the first new token.
    """

    def __init__(self, model, call, ids: str, cache: str, index: str):
        self._call = call
        self._model = model
        self._names = ids, cache, index
        self._name = f"{model().name}/step"
        self._lock = rlock()
        self._renew()

    def _renew(self):
        self._version = Version(training=False)
        self._known: dict[tuple, Specialisation] = {}

    @property
    def version(self) -> Version:
        """Of the model as it was traced."""
        return self._version

    def of(
        self, arguments: Mapping, cache, sampler=None, ahead: int = 0
    ) -> tuple[Specialisation, list[Tensor]]:
        """The specialisation for these arguments, and those of them that it is run on.

        Its results are the logits of the last position [batch, 1, vocabulary], the hidden states
        [batch, new, width], and the probabilities that a sampler makes of the logits, if given.

        Args:
            arguments: by name, all but the cache and the index.
            cache: an empty cache, of which only shapes and dtypes matter.
            sampler: whose probabilities the program makes; None for none.
            ahead: how many positions the method puts before those of the tokens, for an image.

        Raises:
            NotAppended: the model does more with its cache than append to it.
        """
        if all(type(value) is Tensor for value in arguments.values()):  # the usual case, quickly
            tensors, others = list(arguments.values()), tuple(arguments)
        else:
            leaves = [leaf for _, leaf in _leaves(arguments)]
            tensors = [convert_to_tensor(leaf) for leaf in leaves if _moves(leaf)]
            others = (
                str(tree.map_structure(lambda _: 0, arguments)),
                tuple(None if _moves(leaf) else leaf for leaf in leaves),
            )
        settings = config.get()
        key = (
            settings.key, settings.kv_cache_precision, others, id(sampler), ahead,
            tuple([(t.dtype, t.ndim) for t in tensors]),
            tuple([known_lengths(n, v) for n, v in arguments.items() if n in _SHAPED]),
            tuple([
                (leaf.dtype, leaf.shape[1:-3], leaf.shape[-2:]) for leaf in tree.flatten(cache)
            ]),
        )  # fmt: skip
        with self._lock:
            if not self._version.is_current():
                self._renew()
            found = self._known.get(key)
            if found is None:
                try:
                    graph = self._traced(arguments, cache, sampler, ahead)
                except _REFUSED as error:
                    raise NotAppended(f"Tracing a step fails: {error}") from error
                found = self._known[key] = self._specialised(graph, settings)
        return found, tensors

    def _specialised(self, graph: Graph, settings: config.Settings) -> Specialisation:
        # However often weights are assigned, they are constants: a step is bound by reading them,
        # and the plugin reads its own packed form of constants fastest.
        always = Invalidations(most=math.inf)
        return Specialisation(graph, settings, None, list(graph.foldable()), always, self._lock)

    def _traced(self, arguments, cache, sampler, ahead) -> Graph:
        ids, cache_name, index_name = self._names
        leaves = _leaves(arguments)
        roots = [self._model()] if sampler is None else [self._model(), sampler]
        kept = []

        def step(*tensors):
            *given, index, rows = tensors
            rest = iter(given)
            filled = {
                name: tree.map_structure(lambda leaf: next(rest) if _moves(leaf) else leaf, value)
                for name, value in arguments.items()
            }
            batch = dimension(rows, axis=0)
            positions = index + lengths(filled[ids])[1] + ahead
            for n, leaf in enumerate(tree.flatten(cache)):
                kept.append(
                    Kept.made(f"past.{n}", leaf.shape, leaf.dtype, rows, index, batch, positions)
                )
            past = tree.pack_sequence_as(cache, kept)
            with self._version.tracing(roots):
                logits, hidden, after = self._call(
                    **filled, **{cache_name: past, index_name: index}
                )[:3]
                last = slice_(logits, axis=(1,), starts=(-1,), stops=(END,), steps=(1,))
                results = [last, hidden]
                if sampler is not None:
                    results.append(sampler.compute_probabilities(squeeze(last, axis=(1,))))
            after = tree.flatten(after)
            if len(after) != len(kept) or not all(
                k.is_in(a) for k, a in zip(kept, after, strict=True)
            ):
                raise NotAppended("The cache that a step returns is not what it has appended to.")
            return results

        specs = [
            Spec(known_lengths(name, leaf), convert_to_tensor(leaf).dtype)
            for name, leaf in leaves
            if _moves(leaf)
        ]
        specs += [Spec((), "int32", "index"), Spec((None,), "int32", "rows")]
        graph = trace(step, specs, self._name, None, True)
        if graph.writes:
            raise NotAppended(f"A step assigns variables: {[v.path for v in graph.writes]}.")
        return graph


# Arguments some of whose lengths a program knows.
_SHAPED = SHAPED | {FIXED}


def known_lengths(name: str, value) -> tuple | None:
    """The shape of the argument `name` as a program knows it, None for lengths of a run."""
    shape = getattr(value, "shape", None)
    if shape is None or name not in _SHAPED:
        return None if shape is None else (None,) * len(shape)
    if name == FIXED:
        return (None, *shape[1:-3], None, *shape[-2:])
    return (None, *shape[1:])


def _leaves(arguments: Mapping) -> list[tuple]:
    """(name, leaf) of each leaf, in the order of the arguments."""
    return [(name, leaf) for name, value in arguments.items() for leaf in tree.flatten(value)]


def _moves(leaf) -> bool:
    return isinstance(leaf, (Tensor, np.ndarray))
