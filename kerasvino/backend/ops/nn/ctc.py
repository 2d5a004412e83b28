"""Connectionist temporal classification: the loss, and decoding greedily or by beam search.

Graves et al., "Connectionist Temporal Classification", ICML 2006. A path names a class for each
frame; what it spells is left when repeats are merged and then the blanks (`mask_index`) dropped.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kerasvino import dtypes
from kerasvino.backend.ops import numpy as knp
from kerasvino.backend.ops.core.control_flow import scan
from kerasvino.backend.ops.core.convert import convert_to_tensor, promote, to_dtype
from kerasvino.backend.ops.math.top_k import top_k
from kerasvino.backend.ops.numpy.indexing import picked_along_axis
from kerasvino.primitives.create import full_like, iota
from kerasvino.primitives.elementwise import exp, log
from kerasvino.primitives.normalization import log_softmax
from kerasvino.primitives.shape import broadcast_to, expand_dims, lengths, reshape, transpose
from kerasvino.primitives.trellis import LOWEST, trellis
from kerasvino.tensor import Tensor

__all__ = ["ctc_decode", "ctc_loss"]

# Below this is the logarithm of nothing, LOWEST with something added to it.
_NOTHING = LOWEST / 2


def _operands(output, output_length, mask_index, what):
    """Logits (batch, frames, classes) of at least float32, lengths (batch,), index of the blank."""
    (output,) = promote(output, least="float32")
    if output.ndim != 3 or output.shape[2] is None or not dtypes.is_float(output.dtype):
        raise ValueError(
            f"`{what}` must be floats of shape (batch, frames, classes) with a known number of "
            f"classes; given: {output.dtype} of shape {output.shape}."
        )
    output_length = _vector(output_length, output, f"the lengths of `{what}`")
    classes = output.shape[2]
    if not -classes <= mask_index < classes:
        raise ValueError(f"`mask_index` must name one of {classes} classes; given: {mask_index}.")
    return output, output_length, int(mask_index) % classes


def _vector(values, x, what):
    values = to_dtype(convert_to_tensor(values), "int32")
    if values.ndim != 1 or (None not in (values.shape[0], x.shape[0]) and len(values) != len(x)):
        raise ValueError(
            f"There must be one of {what} for each sample; given: shape {values.shape}, for "
            f"{x.shape[0]} samples."
        )
    return values


def _column(values, count=1):
    """Values of each sample that broadcast against `count` further axes."""
    return expand_dims(values, axis=tuple(range(values.ndim, values.ndim + count)))


def _places(length):
    return iota(size=length)


def _log_add(a, b):
    """log(exp(a) + exp(b)) of finite numbers."""
    top = knp.maximum(a, b)
    return top + log(exp(a - top) + exp(b - top))


# -- loss


def ctc_loss(target, output, target_length, output_length, mask_index=0):
    """-log of the probability that the frames spell the target, for each sample.

    Infinite, with a gradient of 0, where they cannot.

    Args:
        target: (batch, labels) integers, of which the first `target_length` count.
        output: (batch, frames, classes) logits, of which the first `output_length` frames count.
        target_length, output_length: (batch,) integers.
        mask_index: the class that is the blank.
    """
    output, output_length, blank = _operands(output, output_length, mask_index, "output")
    target = to_dtype(convert_to_tensor(target), "int32")
    if target.ndim != 2:
        raise ValueError(f"`target` must have shape (batch, labels); given: {target.shape}.")
    target_length = _vector(target_length, target, "`target_length`")
    _vector(output_length, target, "`output_length`")
    states = _with_blanks(target, blank)
    emissions = _emissions(log_softmax(output, axis=2), states)
    before = knp.pad(states[:, :-2], ((0, 0), (2, 0)), constant_values=blank)
    first = knp.where(_places(lengths(states)[1]) == 0, 0.0, LOWEST)
    first = full_like(emissions[0], 0) + to_dtype(first, output.dtype)
    reached = trellis(first, emissions, states != before)
    reached = knp.concatenate([expand_dims(first, axis=(0,)), reached], axis=0)
    total = _at_the_end(reached, target_length, output_length)
    return knp.where(total < _NOTHING, np.inf, -total)


def _with_blanks(target, blank):
    """The labels with a blank before, between and after them: (batch, 2 * labels + 1)."""
    batch, count = lengths(target)
    pairs = knp.stack([full_like(target, blank), target], axis=2)
    pairs = reshape(pairs, shape=(batch, count * 2))
    return knp.pad(pairs, ((0, 0), (0, 1)), constant_values=blank)


def _emissions(log_probabilities, states):
    """(frames, batch, states): the log probability of the class of each state in each frame."""
    batch, frames, classes = lengths(log_probabilities)
    valid = knp.logical_and(states >= 0, states < classes)
    index = expand_dims(knp.where(valid, states, 0), axis=(1,))
    index = broadcast_to(index, shape=(batch, frames, lengths(states)[1]))
    found = picked_along_axis(log_probabilities, index, axis=2)
    found = knp.where(expand_dims(valid, axis=(1,)), knp.maximum(found, LOWEST), LOWEST)
    return transpose(found, axes=(1, 0, 2))


def _at_the_end(reached, target_length, output_length):
    """The log probability of the last label and the blank after it, when the frames are over."""
    _, batch, states = lengths(reached)
    frame = broadcast_to(_column(expand_dims(output_length, axis=(0,))), shape=(1, batch, states))
    last = knp.take_along_axis(reached, frame, axis=0)[0]
    away = _column(2 * target_length) - _places(states)
    ends = knp.where(knp.logical_or(away == 0, away == 1), last, LOWEST)
    top = knp.max(ends, axis=1, keepdims=True)
    return log(knp.sum(exp(ends - top), axis=1)) + top[:, 0]


# -- decoding


def ctc_decode(
    inputs, sequence_lengths, strategy="greedy", beam_width=100, top_paths=1, merge_repeated=True,
    mask_index=0,
):  # fmt: skip
    """What the frames spell, as (labels, scores).

    Args:
        inputs: (batch, frames, classes) logits.
        sequence_lengths: (batch,) integers, how many frames count.
        strategy: "greedy" follows the best class of each frame; its labels have shape (1, batch,
            frames), its scores (batch, 1) the negative sum of the logits followed. "beam_search"
            keeps the `beam_width` most probable beginnings, each summed over its paths; its labels
            have shape (top_paths, batch, frames), its scores (batch, top_paths) their log
            probability, -inf where fewer than `top_paths` can be spelled.
        merge_repeated: whether "greedy" merges repeats.
        mask_index: the class that is the blank.

    Returns:
        Labels, int32, -1 after the last one; scores.
    """
    if strategy not in ("greedy", "beam_search"):
        raise ValueError(
            f"Invalid strategy: it must be 'greedy' or 'beam_search'; given: {strategy!r}."
        )
    x, sequence_lengths, blank = _operands(inputs, sequence_lengths, mask_index, "inputs")
    if strategy == "greedy":
        return _greedy(x, sequence_lengths, merge_repeated, blank)
    if not 1 <= top_paths <= beam_width:
        raise ValueError(
            f"`top_paths` must be from 1 to `beam_width`; given: {top_paths} and {beam_width}."
        )
    return _beam_search(x, sequence_lengths, int(beam_width), int(top_paths), blank)


def _greedy(x, sequence_lengths, merge_repeated, blank):
    places = _places(lengths(x)[1])
    counts = places < _column(sequence_lengths)
    score = -knp.sum(knp.where(counts, knp.max(x, axis=2), 0.0), axis=1, keepdims=True)
    labels = knp.where(counts, knp.argmax(x, axis=2), blank)
    kept = labels != blank
    if merge_repeated:
        before = knp.pad(labels[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        kept = knp.logical_and(kept, labels != before)
    # stable, so that those kept come first in their order
    order = knp.argsort(knp.where(kept, 0, 1), axis=1)
    found = picked_along_axis(labels, order, axis=1)
    found = knp.where(places < _column(knp.sum(to_dtype(kept, "int32"), axis=1)), found, -1)
    return expand_dims(found, axis=(0,)), score


# -- beam search: Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using
#    Bi-Directional Recurrent DNNs", 2014, algorithm 1, without a language model


class _Beam(NamedTuple):
    """The beginnings kept, (batch, width) each.

    Attributes:
        labels: (batch, width, frames), what each spells, -1 after it.
        count: how many labels; -1 for a place that holds no beginning.
        last: the last label, -1 if there is none.
        hashes: two of the labels, by which beginnings are told apart; of 64 bits in all.
        parents: the same of the labels without the last one.
        blank, label: log probability of its paths that end in a blank, and in its last label.
    """

    labels: Tensor
    count: Tensor
    last: Tensor
    hashes: tuple[Tensor, Tensor]
    parents: tuple[Tensor, Tensor]
    blank: Tensor
    label: Tensor


# Multipliers of the hashes, which wrap around in 32 bits (L'Ecuyer, "Tables of linear congruential
# generators", Math. Comp. 68, 1999).
_MULTIPLIERS = (1597334677, 741103597)


def _beam_search(x, sequence_lengths, width, top_paths, blank):
    log_probabilities = knp.maximum(log_softmax(x, axis=2), LOWEST)
    frames = transpose(log_probabilities, axes=(1, 0, 2))
    active = transpose(_places(lengths(x)[1]) < _column(sequence_lengths), axes=(1, 0))

    def step(beam, frame):
        probabilities, goes_on = frame
        following = _advanced(_Beam(*beam), probabilities, blank)

        def chosen(new, old):
            return knp.where(_column(goes_on, new.ndim - 1), new, old)

        return _zipped(chosen, following, beam), None

    beam, _ = scan(step, tuple(_only_the_empty_one(x, width)), (frames, active))
    beam = _Beam(*beam)
    scores, order = top_k(_log_add(beam.blank, beam.label), top_paths)
    missing = scores < _NOTHING
    labels = knp.where(_column(missing), -1, _picked(beam.labels, order))
    return transpose(labels, axes=(1, 0, 2)), knp.where(missing, -np.inf, scores)


def _zipped(function, *beams):
    """`function` of the corresponding tensors of beams, as a plain tuple."""
    return tuple(
        tuple(map(function, *parts)) if isinstance(parts[0], tuple) else function(*parts)
        for parts in zip(*beams, strict=True)
    )


def _only_the_empty_one(x, width):
    batch, frames, _ = lengths(x)
    first = np.arange(width) == 0

    def filled(value, others=None):
        row = np.where(first, value, value if others is None else others)
        kind = np.int32 if isinstance(value, int) else dtypes.numpy_dtype(x.dtype)
        return broadcast_to(Tensor._wrap(row.astype(kind)), shape=(batch, width))

    none = filled(0), filled(0)
    labels = broadcast_to(Tensor._wrap(np.array(-1, np.int32)), shape=(batch, width, frames))
    return _Beam(labels, filled(0, -1), filled(-1), none, none, filled(0.0, LOWEST), filled(LOWEST))


def _picked(x, order):
    """x (batch, n, ...) at `order` (batch, m) of axis 1."""
    if x.ndim > 2:
        order = broadcast_to(_column(order), shape=(*lengths(order), lengths(x)[2]))
    return knp.take_along_axis(x, order, axis=1)


def _advanced(beam, probabilities, blank):
    """The beam after a frame with the log probabilities (batch, classes)."""
    width, classes = beam.count.shape[1], probabilities.shape[1]
    total = _log_add(beam.blank, beam.label)
    # paths that go on spelling the same: by a blank, or by the last label again
    stay_blank = total + probabilities[:, blank : blank + 1]
    repeated = knp.take_along_axis(probabilities, knp.maximum(beam.last, 0), axis=1)
    stay_label = beam.label + repeated
    # and those that spell one label more; the last one anew only after a blank
    names = _places(classes)
    again = _column(beam.last) == names
    longer = knp.where(again, _column(beam.blank), _column(total))
    longer = longer + expand_dims(probabilities, axis=(1,))
    longer = knp.where(names == blank, LOWEST, longer)
    stay_label, longer = _merged(beam, stay_label, longer, again)

    batch = lengths(total)[0]
    stay = _log_add(stay_blank, stay_label)
    longer = reshape(longer, shape=(batch, width * classes))
    scores, order = top_k(knp.concatenate([stay, longer], axis=1), width)
    source = np.concatenate([np.arange(width), np.repeat(np.arange(width), classes)])
    label = np.concatenate([np.full(width, -1), np.tile(np.arange(classes), width)])
    source, label = (knp.take(n.astype(np.int32), order, axis=0) for n in (source, label))
    kept = knp.where(label < 0, _picked(stay_blank, source), LOWEST)
    spelled = knp.where(label < 0, _picked(stay_label, source), scores)
    return _extended(beam, source, label, scores, kept, spelled)


def _merged(beam, stay_label, longer, again):
    """Moves what extends a beginning into another one that is kept to where that is."""
    same = _column(beam.count) == expand_dims(beam.count - 1, axis=(1,))
    for own, parent in zip(beam.hashes, beam.parents, strict=True):
        same = knp.logical_and(same, _column(own) == expand_dims(parent, axis=(1,)))
    # same[b, p, q]: q spells what p does and one label more
    same = knp.logical_and(same, _column(beam.count >= 0))
    index = broadcast_to(expand_dims(knp.maximum(beam.last, 0), axis=(1,)), shape=lengths(same))
    arriving = knp.where(same, knp.take_along_axis(longer, index, axis=2), LOWEST)
    stay_label = _log_add(stay_label, knp.max(arriving, axis=1))
    kind = longer.dtype
    moved = knp.matmul(to_dtype(same, kind), to_dtype(again, kind)) > 0
    return stay_label, knp.where(moved, LOWEST, longer)


def _extended(beam, source, label, scores, blank, spelled):
    """The beam made of the beginnings at `source`, with `label` added where it is not -1."""
    count, last = _picked(beam.count, source), _picked(beam.last, source)
    labels, grows = _picked(beam.labels, source), label >= 0
    here = knp.logical_and(_places(lengths(labels)[2]) == _column(count), _column(grows))
    labels = knp.where(here, _column(label), labels)
    hashes, parents = [], []
    for own, parent, multiplier in zip(beam.hashes, beam.parents, _MULTIPLIERS, strict=True):
        own, parent = _picked(own, source), _picked(parent, source)
        hashes.append(knp.where(grows, (own + label + 1) * multiplier, own))
        parents.append(knp.where(grows, own, parent))
    alive = scores > _NOTHING
    count = knp.where(alive, count + to_dtype(grows, "int32"), -1)
    last = knp.where(grows, label, last)
    return _Beam(labels, count, last, tuple(hashes), tuple(parents), blank, spelled)
