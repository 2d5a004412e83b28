"""`ravel`, the worked example of docs/adding-an-operation.md, with its listings."""

import pathlib
import re

import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import dtypes
from kerasvino.autodiff.reverse import pullback, watch
from kerasvino.backend.ops.core import convert_to_tensor
from tests.backend.forms import FORMS, nodes, run

ROOT = pathlib.Path(kerasvino.__file__).parents[1]
PAGE = ROOT / "docs" / "adding-an-operation.md"
# complex numbers and strings have no place in a graph
GRAPH_DTYPES = [name for name, row in dtypes.TABLE.items() if row.graph and row.kind != "s"]
SHAPES = [(), (1,), (6,), (2, 3), (2, 1, 3), (0,), (3, 0), (0, 2, 4), (1, 1, 1, 1)]


def filled(shape, dtype):
    values = np.random.default_rng(7).integers(0, 127, shape)
    return np.asarray(values).astype(dtypes.numpy_dtype(dtype))


@pytest.mark.parametrize("dtype", GRAPH_DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_ravel(dtype, form):
    arrays = [filled(shape, dtype) for shape in SHAPES]
    if form in ("static", "dynamic") and dtype == "float64":
        arrays = [a.astype(np.float32) for a in arrays]
    found = run(form, lambda *xs: [ops.ravel(x) for x in xs], *arrays)
    for result, array in zip(found, arrays, strict=True):
        assert result.dtype == array.dtype
        assert result.shape == (array.size,)
        assert result.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["complex64", "string"])
def test_ravel_of_what_stays_on_the_host(dtype):
    array = np.array([[1, 2], [3, 4]]).astype(dtypes.numpy_dtype(dtype))
    np.testing.assert_array_equal(ops.ravel(convert_to_tensor(array)).numpy(), array.ravel())


def test_ravel_takes_what_every_operation_takes():
    for x in (3, 2.5, True, [[1, 2], [3, 4]], (1.0, 2.0), np.ones((2, 2)), ops.ones((2, 3))):
        np.testing.assert_array_equal(ops.ravel(x), np.ravel(x))


def test_ravel_on_the_host_is_a_view():
    x = ops.ones((4, 5))
    assert np.shares_memory(ops.ravel(x).numpy(), x.numpy())


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_ravel_in_a_graph_is_one_reshape(shape, dynamic):
    # of what is known to be nothing, a graph holds nothing but that
    wanted = [] if 0 in shape and not dynamic else ["Reshape"]
    assert nodes(ops.ravel, filled(shape, "float32"), dynamic=dynamic) == wanted


@pytest.mark.parametrize("form", ["host", "static", "dynamic"])
def test_the_gradient_of_ravel_has_the_shape_of_its_operand(form):
    def gradient(x, g):
        x = watch(x)
        return pullback([ops.ravel(x)], [g], [x])

    x, g = filled((2, 3), "float32"), np.arange(6, dtype=np.float32)
    np.testing.assert_array_equal(run(form, gradient, x, g), g.reshape(2, 3))


def test_the_listings_of_the_page_are_the_code():
    """Each fenced block that opens with `# <path>` is a part of that file, line for line."""
    blocks = re.findall(r"```python\n# ([\w./]+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) >= 5
    for path, listing in blocks:
        source = (ROOT / path).read_text()
        for part in listing.strip("\n").split("\n...\n"):
            assert part.strip("\n") in source, f"{path} has not:\n{part}"
