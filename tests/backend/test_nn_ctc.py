"""CTC: the loss against PyTorch's and all paths, decoding against all paths, in every form."""

import itertools

import numpy as np
import pytest
import torch
from keras import ops
from scipy.special import log_softmax, logsumexp

from kerasvino.autodiff import pullback, watch
from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

both = pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])


def _logits(batch, frames, classes, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (batch, frames, classes)).astype("float32")


# -- loss

BATCH = {
    # repeated labels, one label, no label, as many labels as frames, fewer frames than labels
    "target": np.array(
        [[1, 1, 2, -1], [3, 0, 0, 0], [1, 2, 3, 1], [1, 2, 3, 1], [2, 2, 2, 2]], "int32"
    ),
    "target_length": np.array([3, 1, 0, 4, 4], "int32"),
    "output_length": np.array([6, 7, 5, 4, 5], "int32"),
}


def _arguments(classes=4, blank=0):
    """Arguments of the loss, the labels renamed so that `blank` is none of them."""
    target = np.where(BATCH["target"] > blank, BATCH["target"], BATCH["target"] - 1)
    target = np.maximum(target, 0) if blank else BATCH["target"]
    return target, _logits(5, 7, classes), BATCH["target_length"], BATCH["output_length"]


def _torch_loss(target, output, target_length, output_length, blank):
    """Loss and the gradient of its sum over the samples that have a path."""
    x = torch.tensor(output.astype("float64"), requires_grad=True)
    loss = torch.nn.functional.ctc_loss(
        x.log_softmax(2).transpose(0, 1), torch.tensor(np.maximum(target, 0)).long(),
        torch.tensor(output_length).long(), torch.tensor(target_length).long(),
        blank=blank, reduction="none", zero_infinity=False,
    )  # fmt: skip
    loss[torch.isfinite(loss)].sum().backward()
    gradient = np.nan_to_num(x.grad.numpy())
    return loss.detach().numpy(), gradient


@both
@pytest.mark.parametrize("blank", [0, 3, -1])
def test_loss_and_gradient_are_those_of_pytorch(run, blank):
    target, output, target_length, output_length = _arguments(blank=blank % 4)
    exact, slope = _torch_loss(target, output, target_length, output_length, blank % 4)
    assert np.isinf(exact).any()

    def differentiated(target, output, target_length, output_length):
        x = watch(ops.convert_to_tensor(output))
        loss = ops.ctc_loss(target, x, target_length, output_length, mask_index=blank)
        (gradient,) = pullback([loss], [ops.ones_like(loss)], [x])
        return loss, gradient

    loss, gradient = run(differentiated)(target, output, target_length, output_length)
    np.testing.assert_allclose(loss, exact, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


def test_the_second_derivative_of_the_loss():
    x = _logits(1, 4, 3).astype("float64")
    v = np.random.default_rng(1).normal(size=x.shape)

    def slope(x):
        x = watch(ops.convert_to_tensor(x))
        loss = ops.ctc_loss(np.array([[1, 2]]), x, np.array([2]), np.array([4]))
        return x, pullback([loss], [ops.ones_like(loss)], [x])[0]

    point, gradient = slope(x)
    (product,) = pullback([gradient], [ops.convert_to_tensor(v)], [point])
    step = 1e-5
    wanted = (np.array(slope(x + step * v)[1]) - np.array(slope(x - step * v)[1])) / (2 * step)
    np.testing.assert_allclose(product, wanted, rtol=1e-5, atol=1e-7)


def test_loss_of_unknown_lengths():
    target, output, target_length, output_length = _arguments()
    specs = [
        Spec((None, None), "int32"), Spec((None, None, 4), "float32"), Spec((None,), "int32"),
        Spec((None,), "int32"),
    ]  # fmt: skip
    program = Program(trace(lambda *xs: [ops.ctc_loss(*xs)], specs), "CPU", {})
    (found,) = program([target, output, target_length, output_length])
    np.testing.assert_allclose(
        found, ops.ctc_loss(target, output, target_length, output_length), rtol=1e-5
    )


def test_no_frame_spells_nothing():
    found = ops.ctc_loss([[1], [1]], _logits(2, 3, 3), [0, 1], [0, 0])
    assert found.tolist() == [0.0, np.inf]


def test_a_class_that_cannot_occur():
    x = _logits(2, 4, 3)
    x[0, :, 1] = -np.inf
    x[1, :, 2] = -np.inf
    found = np.array(ops.ctc_loss([[1], [1]], x, [1, 1], [4, 4]))
    assert np.isinf(found[0])
    assert np.isfinite(found[1])


# -- decoding


def _spelled(path, blank):
    merged = [label for label, _ in itertools.groupby(path)]
    return tuple(label for label in merged if label != blank)


def _all_spellings(logits, blank):
    """{labels: log probability}, by going through all paths."""
    found = {}
    rows = log_softmax(logits.astype("float64"), axis=1)
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        score = sum(row[label] for row, label in zip(rows, path, strict=True))
        found.setdefault(_spelled(path, blank), []).append(score)
    return {labels: logsumexp(scores) for labels, scores in found.items()}


def _padded(labels, frames):
    return [*labels, *[-1] * (frames - len(labels))]


@both
@pytest.mark.parametrize("blank", [0, 2])
def test_a_wide_beam_finds_the_most_probable_spellings(run, blank):
    x, counts, paths = _logits(3, 5, 3, seed=blank), np.array([5, 3, 1]), 4

    def decode(x, counts):
        return ops.ctc_decode(
            x, counts, "beam_search", beam_width=130, top_paths=paths, mask_index=blank
        )

    labels, scores = run(decode)(x, counts)
    assert (labels.dtype, labels.shape) == ("int32", (paths, 3, 5))
    for sample, count in enumerate(counts):
        exact = _all_spellings(x[sample, :count], blank)
        ranked = sorted(exact, key=exact.get, reverse=True)[:paths]
        wanted = [_padded(r, 5) for r in ranked] + [[-1] * 5] * (paths - len(ranked))
        assert np.array(labels)[:, sample].tolist() == wanted
        values = [exact[r] for r in ranked] + [-np.inf] * (paths - len(ranked))
        np.testing.assert_allclose(np.array(scores)[sample], values, rtol=1e-5)


def _narrow_beam(logits, width, blank):
    """Prefix beam search with dictionaries."""
    rows = log_softmax(logits.astype("float64"), axis=1)
    beam = {(): (0.0, -np.inf)}
    for row in rows:
        following = {}

        def add(labels, place, score, following=following):
            pair = list(following.get(labels, (-np.inf, -np.inf)))
            pair[place] = np.logaddexp(pair[place], score)
            following[labels] = tuple(pair)

        for labels, (in_blank, in_label) in beam.items():
            total = np.logaddexp(in_blank, in_label)
            for label, score in enumerate(row):
                if label == blank:
                    add(labels, 0, total + score)
                elif labels and label == labels[-1]:
                    add(labels, 1, in_label + score)
                    add((*labels, label), 1, in_blank + score)
                else:
                    add((*labels, label), 1, total + score)
        best = sorted(following, key=lambda p: np.logaddexp(*following[p]), reverse=True)
        beam = {labels: following[labels] for labels in best[:width]}
    return [(labels, np.logaddexp(*pair)) for labels, pair in beam.items()]


@both
@pytest.mark.parametrize("width", [2, 5])
def test_a_narrow_beam_follows_the_algorithm(run, width):
    x = _logits(2, 12, 4, seed=width) / 2
    decode = run(lambda x, n: ops.ctc_decode(x, n, "beam_search", beam_width=width, top_paths=2))
    labels, scores = decode(x, np.array([12, 9]))
    for sample, count in enumerate((12, 9)):
        (first, second), exact = zip(*_narrow_beam(x[sample, :count], width, 0)[:2], strict=True)
        assert np.array(labels)[:, sample].tolist() == [_padded(first, 12), _padded(second, 12)]
        np.testing.assert_allclose(np.array(scores)[sample], exact, rtol=1e-5)


@both
@pytest.mark.parametrize("blank", [0, 3])
@pytest.mark.parametrize("merged", [True, False])
def test_greedy_decoding_follows_the_best_classes(run, blank, merged):
    x, counts = _logits(4, 9, 4, seed=1), np.array([9, 6, 1, 0])
    decode = run(lambda x, n: ops.ctc_decode(x, n, merge_repeated=merged, mask_index=blank))
    labels, scores = decode(x, counts)
    assert (labels.shape, scores.shape) == ((1, 4, 9), (4, 1))
    for sample, count in enumerate(counts):
        path = x[sample, :count].argmax(1)
        wanted = _spelled(path, blank) if merged else [n for n in path if n != blank]
        assert np.array(labels)[0, sample].tolist() == _padded(wanted, 9)
        np.testing.assert_allclose(scores[sample, 0], -x[sample, :count].max(1).sum(), rtol=1e-5)


@pytest.mark.parametrize("strategy", ["greedy", "beam_search"])
def test_decoding_of_unknown_lengths(strategy):
    x, counts = _logits(2, 6, 4), np.array([6, 4], "int32")
    specs = [Spec((None, None, 4), "float32"), Spec((None,), "int32")]
    graph = trace(lambda x, n: ops.ctc_decode(x, n, strategy, beam_width=8, top_paths=1), specs)
    labels, scores = Program(graph, "CPU", {})([x, counts])
    exact = ops.ctc_decode(x, counts, strategy, beam_width=8, top_paths=1)
    np.testing.assert_array_equal(labels, exact[0])
    np.testing.assert_allclose(scores, exact[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.ctc_decode(x, [3], "best"), "'greedy' or 'beam_search'"),
        (lambda x: ops.ctc_decode(x, [3], "beam_search", 2, 3), "from 1 to `beam_width`"),
        (lambda x: ops.ctc_decode(x, [3, 3]), "one of the lengths of `inputs` for each sample"),
        (lambda x: ops.ctc_decode(x, [3], mask_index=4), "must name one of 4 classes"),
        (lambda x: ops.ctc_decode(x[0], [3]), "must be floats of shape .batch"),
        (lambda x: ops.ctc_loss([1], x, [1], [3]), "must have shape .batch, labels."),
        (lambda x: ops.ctc_loss([[1]], x, [1, 1], [3]), "one of `target_length` for each sample"),
    ],
)
def test_errors_say_what_is_accepted(call, message):
    with pytest.raises(ValueError, match=message):
        call(_logits(1, 3, 4))
