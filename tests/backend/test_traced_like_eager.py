"""Every function of `keras.ops` gives in a graph what it gives eagerly, of known and unknown shape.

The arguments are in `samples`.
"""

import numpy as np
import pytest
from keras import ops, tree

from kerasvino.primitives.operation_errors import LoweringError
from tests.backend.forms import run
from tests.backend.samples import EAGER_ONLY, FREE_SIGNS, OTHERS, SAMPLES


def _functions():
    """Names, without the functions that do not take arrays to arrays."""
    for module, prefix in ((ops, ""), (ops.image, "image.")):
        for name in dir(module):
            if not name.startswith("_") and callable(getattr(module, name)):
                yield prefix + name


def _named(name):
    function = ops
    for part in name.split("."):
        function = getattr(function, part)
    return function


def _flat(result):
    return [leaf for leaf in tree.flatten(result) if leaf is not None]


def _cases():
    return [
        pytest.param(name, sample, id=f"{name}-{number}")
        for name, samples in SAMPLES.items()
        for number, sample in enumerate(samples)
    ]


def test_every_function_has_an_example():
    assert sorted([*SAMPLES, *EAGER_ONLY, *OTHERS]) == sorted(_functions())


def _traceable(name, sample):
    """(function of the arrays of a sample that returns a list of tensors, those arrays)."""
    function, structure = _named(name), list(sample)
    leaves = tree.flatten(structure)
    moving = [isinstance(leaf, (np.ndarray, np.generic)) for leaf in leaves]

    def called(*tensors):
        rest = iter(tensors)
        filled = [next(rest) if m else leaf for m, leaf in zip(moving, leaves, strict=True)]
        args, kwargs = tree.pack_sequence_as(structure, filled)
        return [ops.convert_to_tensor(leaf) for leaf in _flat(function(*args, **kwargs))]

    return called, [leaf for m, leaf in zip(moving, leaves, strict=True) if m]


@pytest.mark.parametrize("form", ["static", "dynamic"])
@pytest.mark.parametrize(("name", "sample"), _cases())
def test_traced_is_eager(name, sample, form):
    function, arrays = _traceable(name, sample)
    expected, found = run("host", function, *arrays), run(form, function, *arrays)
    expected, found = (x if isinstance(x, list) else [x] for x in (expected, found))
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        if ours.dtype.kind in "biu":
            np.testing.assert_array_equal(ours, theirs)
        else:
            if name in FREE_SIGNS:
                ours, theirs = abs(ours), abs(theirs)
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EAGER_ONLY)
def test_what_a_graph_cannot_express_says_so(name):
    sample, message = EAGER_ONLY[name]
    function, arrays = _traceable(name, sample)
    run("host", function, *arrays)
    with pytest.raises((TypeError, LoweringError), match=message):
        run("static", function, *arrays)
