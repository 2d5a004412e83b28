"""The loop of KerasHub's samplers over tokens, with their probabilities made in the step's program.

`Sampler.__call__` asks for logits, makes probabilities of them and chooses a token, for samplers
that choose one row at a time (greedy, top-k, top-p, random and a user's own). The greedy one only
asks for the greatest, which is that of the logits. For others, probabilities are made behind the
logits in the program; the choice, which advances seeds, is the sampler's own, on the host: the
plugin's TopK takes 1.2 ms for the greatest of 50,000, NumPy 0.005. Beam search and contrastive
search have loops of their own, and stay as they are.
"""

from __future__ import annotations

import numpy as np

from kerasvino.backend.keras_private import at, imitated
from kerasvino.backend.ops.core.convert import convert_to_numpy
from kerasvino.tensor import Tensor

__all__ = ["chooses", "greatest", "is_greedy", "one_by_one"]


def chooses(sampler) -> bool:
    """Whether `sampled` does what `sampler` does when it is called."""
    base = at("keras_hub.src.samplers.sampler:Sampler")
    own = type(sampler)
    return (
        base is not None
        and isinstance(sampler, base)
        and (own.__call__, own.run_loop) == (base.__call__, base.run_loop)
        and imitated("sampling") is not None
    )


def is_greedy(sampler) -> bool:
    """Whether a sampler that `chooses` takes the token of the greatest logit."""
    base = at("keras_hub.src.samplers.sampler:Sampler")
    greedy = at("keras_hub.src.samplers.greedy_sampler:GreedySampler")
    own = type(sampler)
    return (
        greedy is not None
        and own.get_next_token is greedy.get_next_token
        and own.compute_probabilities is base.compute_probabilities
        and isinstance(sampler.temperature, (int, float))
        and sampler.temperature > 0
    )


def greatest(logits) -> np.ndarray | None:
    """The place of the greatest logit in each row; None where they are not all finite."""
    logits = convert_to_numpy(logits).astype(np.float32, copy=False)
    found = logits.argmax(axis=-1)
    tops = logits[np.arange(len(logits)), found]
    return found if np.isfinite(tops).all() else None


def one_by_one(chosen, next, ids, cache, index, mask, stop_token_ids):
    """Fills up `ids` by a sampler that `chooses`, and yields each place when it is filled.

    Args:
        chosen: `chosen(logits)` -> the next token of each row, int [batch].
        next: `next(prompt, cache, index)` -> (logits, hidden states, cache).
        ids: array [batch, length], is written to.
        cache: what `next` takes at first.
        index: of the first token to choose.
        mask: which of the ids are given; None for none.
        stop_token_ids: ids that end a row, or None.
    """
    given = np.zeros(ids.shape, bool) if mask is None else convert_to_numpy(mask).astype(bool)
    stops = None if stop_token_ids is None else np.array(stop_token_ids, ids.dtype)
    for place in range(int(index), ids.shape[1]):
        if stops is not None and (np.isin(ids, stops) & ~given).any(axis=1).all():
            break
        # a step reads what lies before `place`, which is not written again
        logits, _, cache = next(Tensor._wrap(ids), cache, Tensor(place, "int32"))
        ids[:, place] = np.where(given[:, place], ids[:, place], chosen(logits))
        yield place
