"""GradientTape, with the meaning it has in TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kerasvino import dtypes
from kerasvino.autodiff import Recording, leave, release
from kerasvino.backend.keras_private import Variable as KerasVariable
from kerasvino.backend.keras_private import tree
from kerasvino.backend.ops.core.convert import convert_to_tensor
from kerasvino.backend.transforms import gradients
from kerasvino.primitives.create import zeros_like
from kerasvino.tensor import Tensor

__all__ = ["GradientTape"]


class GradientTape:
    """Records what is computed inside the context, for gradients.

    Trainable variables are watched when they are read; tensors by `watch`. Tapes nest.

    Args:
        persistent: whether `gradient` may be called more than once.
        watch_accessed_variables: False to watch only what is named to `watch`.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self._persistent = persistent
        self._automatic = watch_accessed_variables
        self._inside = False
        self._start()

    def _start(self):
        self._named: set[int] = set()
        self._recording = Recording(
            lambda v: (self._automatic and v.trainable) or id(v) in self._named
        )
        self._used = False

    def __enter__(self) -> GradientTape:
        if self._inside:
            raise ValueError("The tape is recording already.")
        self._inside = True
        self._recording.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._inside = False
        self._recording.__exit__()

    def watch(self, tensor: Any) -> None:
        """Records what is computed from a (nested structure of) tensor or variable from now on."""
        for item in tree.flatten(tensor):
            if isinstance(item, KerasVariable):
                self._named.add(id(item))
            elif isinstance(item, Tensor):
                if dtypes.TABLE[item.dtype].kind in "fc":
                    self._recording.watch_in_place(item)
            else:
                raise ValueError(
                    f"A tape watches tensors and variables; given: {type(item)}. Convert it first "
                    "(keras.ops.convert_to_tensor) and compute with the tensor."
                )

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that were read and watched."""
        return tuple(self._recording.variables())

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Inside, nothing is recorded: what is computed there counts as constant."""
        if not self._inside:
            raise ValueError("The tape is not recording, so it cannot stop.")
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def reset(self) -> None:
        """Forgets everything, as if the tape were made anew."""
        inside = self._inside
        if inside:
            self.__exit__()
        self._recording.close()
        self._start()
        if inside:
            self.__enter__()

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = "none",
    ) -> Any:
        """The gradient of the sum of `target` by each of `sources`, in the structure of these.

        Args:
            target: a (nested structure of) recorded tensor.
            sources: a (nested structure of) watched tensors and variables, or of tensors that were
                computed from such.
            output_gradients: cotangents of the targets; default: ones.
            unconnected_gradients: "none" gives None where the target does not depend on a source,
                "zero" gives zeros.

        Raises:
            RuntimeError: a second call on a tape that is not persistent.
            NotDifferentiableError: an operation on the way has no gradient.
        """
        unconnected = getattr(unconnected_gradients, "value", unconnected_gradients)
        if unconnected not in ("none", "zero"):
            raise ValueError(
                "`unconnected_gradients` should be 'none' or 'zero'. "
                f"Received: {unconnected_gradients!r}"
            )
        if self._used:
            raise RuntimeError(
                "This tape gives one set of gradients; make it with persistent=True to call "
                "gradient() again."
            )
        if not self._persistent:
            self._used = True
            if self._inside:
                self.__exit__()
                self._inside = True  # left by the `with` statement yet
        targets, cotangents = self._targets(target, output_gradients)
        wanted = [self._source(s) for s in tree.flatten(sources)]
        found = gradients(self._recording, targets, cotangents, wanted)
        if not self._persistent:
            self._recording.close()
            release(targets)
        results = []
        for gradient, source in zip(found, wanted, strict=True):
            if gradient is None and unconnected == "zero":
                gradient = zeros_like(leave(convert_to_tensor(source)))
            results.append(None if gradient is None else leave(gradient))
        return tree.pack_sequence_as(sources, results)

    def _source(self, source):
        if isinstance(source, (Tensor, KerasVariable)):
            return source
        raise ValueError(f"Sources are tensors and variables; given: {type(source)}.")

    def _targets(self, target, output_gradients):
        """(tensors, cotangents) of the targets that are floating-point."""
        targets = []
        for item in tree.flatten(target):
            twins = self._recording.twins(item) if isinstance(item, KerasVariable) else ()
            targets.append(twins[-1] if twins else convert_to_tensor(item))
        if output_gradients is None:
            cotangents = [None] * len(targets)
        else:
            cotangents = tree.flatten(output_gradients)
        found = []
        for tensor, cotangent in zip(targets, cotangents, strict=True):
            if dtypes.TABLE[tensor.dtype].kind not in "fc":
                continue
            if cotangent is None:
                cotangent = zeros_like(leave(tensor)) + 1
            found.append((tensor, convert_to_tensor(cotangent, tensor.dtype)))
        return [t for t, _ in found], [c for _, c in found]
