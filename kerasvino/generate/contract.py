"""The methods that KerasHub's tasks call for each token: their arguments and results by name.

A method takes new tokens, what it has kept of those before (its cache) and the position of the
first new one. A decoder that attends to an encoder also takes the keys and values of the encoder's
output. They are computed with the first tokens and stay as they are: they are fixed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["CONTRACTS", "FIXED", "POSITIONAL", "SHAPED", "Contract", "contract_of"]

# What the fixed keys and values are called among the arguments of a step.
FIXED = "fixed"

# Arguments [batch, positions] that go along with the tokens.
POSITIONAL = frozenset(
    {"padding_mask", "decoder_padding_mask", "cache_update_mask", "vision_mask", "audio_mask"}
)

# Arguments whose lengths, but for the first, are those of a model: images, sound, their places.
SHAPED = frozenset({
    "img_embeddings", "vision_indices", "audio_embeddings", "audio_indices", "projected_features",
    "pixel_values", "input_features", "input_features_mask",
})  # fmt: skip


@dataclass(frozen=True)
class Contract:
    """How a method is called.

    Attributes:
        method: its name.
        ids, cache, index: its arguments that are the new tokens [batch, new], the cache, and the
            position of the first of them.
        fixed: its argument that is the fixed keys and values; None if it has none.
        once: its argument that is 0 where these are to be computed, and None later.
        pair: whether the cache is a pair: what is kept, and what is fixed.
    """

    method: str
    ids: str
    cache: str
    index: str
    fixed: str | None = None
    once: str | None = None
    pair: bool = False

    def fits(self, model) -> bool:
        names = {self.ids, self.cache, self.index, self.fixed} - {None}
        method = getattr(model, self.method, None)
        return method is not None and names <= parameters(method).keys()

    @property
    def has_fixed(self) -> bool:
        return self.pair or self.fixed is not None

    def taken(self, given: dict) -> tuple:
        """(cache, fixed, index), which are taken out of the arguments `given`."""
        cache, fixed = given.pop(self.cache), None
        if self.pair:
            cache, fixed = cache
        elif self.fixed is not None:
            fixed = given.pop(self.fixed, None)
        given.pop(self.once, None)
        return cache, fixed, given.pop(self.index)

    def call(self, method: Callable, given: Mapping, cache, index, fixed=None, begins=False):
        """Calls `method`.

        Args:
            given: its other arguments by name.
            cache, index, fixed: these arguments.
            begins: whether what is fixed is to be computed.

        Returns:
            (logits, hidden states, cache, fixed).
        """
        known = parameters(method)
        named = {name: None for name, p in known.items() if p.default is p.empty}
        named |= {**given, self.index: index, self.cache: (cache, fixed) if self.pair else cache}
        if self.fixed is not None:
            named[self.fixed] = fixed
        if self.once in known:
            named[self.once] = 0 if begins else None
        result = method(**named)
        if self.pair:
            return (*result[:2], *result[2])
        return (*result[:3], result[3] if self.fixed is not None else None)

    def results(self, logits, hidden, cache, fixed) -> tuple:
        """What the method returns."""
        if self.pair:
            return logits, hidden, (cache, fixed)
        return (logits, hidden, cache) if self.fixed is None else (logits, hidden, cache, fixed)


CONTRACTS = (
    Contract("call_with_cache", "token_ids", "cache", "cache_update_index"),
    Contract(
        "call_decoder_with_cache", "decoder_token_ids", "self_attention_cache",
        "self_attention_cache_update_index", fixed="cross_attention_cache",
        once="cross_attention_cache_update_index",
    ),
    Contract(
        "call_decoder_with_cache", "decoder_token_ids", "cache", "cache_update_index", pair=True
    ),
)  # fmt: skip


def contract_of(model) -> Contract | None:
    """The contract that a task's method follows."""
    return next((contract for contract in CONTRACTS if contract.fits(model)), None)


def parameters(method: Callable) -> Mapping[str, inspect.Parameter]:
    return _parameters(getattr(method, "__func__", method), hasattr(method, "__func__"))


@functools.lru_cache(maxsize=256)
def _parameters(function, bound):
    found = dict(inspect.signature(function).parameters)
    if bound:  # without the object itself
        found.pop(next(iter(found)), None)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in found.items() if p.kind not in kinds}
