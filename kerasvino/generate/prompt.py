"""What a generation begins with: the arguments of the first call of its step."""

from __future__ import annotations

import functools

import numpy as np

from kerasvino.backend.keras_private import tree
from kerasvino.generate.contract import FIXED, POSITIONAL, SHAPED, Contract
from kerasvino.primitives.memory import NotAppended
from kerasvino.tensor import Tensor

__all__ = ["Later", "Prompt"]


class Prompt:
    """The arguments of the first call, which are read when the second is made.

    Args:
        contract: of the method that is called.
        given: its other arguments by name, tensors of as many positions as will be generated.
        cache: the empty cache.
        fixed: keys and values of an encoder's output, one tensor; None if there are none.
        call: runs the method itself, without a program, and returns what it does.
    """

    def __init__(self, contract: Contract, given: dict, cache, fixed, call):
        self._contract, self.cache, self.fixed = contract, cache, fixed
        self._given = {name: value for name, value in given.items() if value is not None}
        self._length = given[contract.ids].shape[1]
        self._positions = tree.flatten(cache)[0].shape[-3]
        self._along = POSITIONAL | {contract.ids}
        self._call = functools.cache(call)
        self._hidden = None
        for name, value in self._given.items():
            self._check(name, value)

    def _check(self, name: str, value) -> None:
        known = name in self._along or name in SHAPED or name.startswith("encoder_")
        if not known and any(_is_along(leaf, self._length) for leaf in tree.flatten(value)):
            raise NotAppended(f"Whether {name} goes along with the tokens is not known.")

    @property
    def ahead(self) -> int:
        """How many positions the first call puts before those of the tokens."""
        return self._positions - self._length

    @property
    def is_text(self) -> bool:
        """Whether it holds tokens and their padding, beside what an encoder made."""
        given = {name for name, value in self._given.items() if tree.flatten(value)}
        others = given - {self._contract.ids, "padding_mask", "decoder_padding_mask"}
        return all(name.startswith("encoder_") for name in others)

    def is_text_from(self, position: int) -> bool:
        """Whether from this position on there are tokens alone, no images or sound."""
        masks = [self._given[name] for name in ("vision_mask", "audio_mask") if name in self._given]
        return self.is_text or (
            bool(masks) and not any(mask.numpy()[:, position:].any() for mask in masks)
        )

    def between(self, start: int, end: int) -> dict:
        """The arguments of a text cut to the positions from `start` to `end`.

        Raises:
            NotAppended: it has fewer.
        """
        if end > self._length:
            raise NotAppended(f"A step begins at {end}, and {self._length} positions were given.")
        given = self._cut(start, end)
        for name in ("padding_mask", "decoder_padding_mask"):
            if isinstance(given.get(name), Tensor) and given[name].numpy().all():
                del given[name]
        return given

    def whole(self) -> dict:
        """The arguments without the padding behind the longest row."""
        mask = self._given.get("padding_mask")
        end = self._length
        if isinstance(mask, Tensor) and mask.shape[1] == end:
            used = np.flatnonzero(mask.numpy().astype(bool).any(0))
            end = int(used[-1]) + 1 if len(used) else end
        return self._cut(0, end)

    def _cut(self, start: int, end: int) -> dict:
        cut = {
            name: Tensor._wrap(value.numpy()[:, start:end])
            if name in self._along and _is_along(value, self._length)
            else value
            for name, value in self._given.items()
        }
        return cut if self.fixed is None else {**cut, FIXED: self.fixed}

    def read(self, hidden: np.ndarray) -> None:
        """Keeps the hidden states of the positions read so far, zeros behind them."""
        shape = (hidden.shape[0], self._positions, *hidden.shape[2:])
        self._hidden = np.zeros(shape, hidden.dtype)
        self._hidden[:, : hidden.shape[1]] = hidden

    def logits(self):
        return self._call()[0]

    def hidden(self):
        return self._call()[1] if self._hidden is None else Tensor._wrap(self._hidden)


def _is_along(leaf, length: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 1 and leaf.shape[1] == length


class Later:
    """A tensor that is computed when somebody asks for it, which samplers seldom do."""

    def __init__(self, compute):
        self._compute = compute

    def __array__(self, dtype=None, copy=None):
        return self._compute().__array__(dtype, copy)

    def __getattr__(self, name):
        return getattr(self._compute(), name)

    def __getitem__(self, key):
        return self._compute()[key]
