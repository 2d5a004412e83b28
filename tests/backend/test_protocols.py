"""Python's protocols and what other libraries do with a tensor."""

import copy
import json
import math
import operator
import pickle

import numpy as np
import pandas as pd
import pytest
from keras import ops

from kerasvino.tensor import Tensor

X = np.arange(6, dtype="float32").reshape(2, 3)


def _shown(x):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    (line,) = axes.plot(x[0], x[1])
    axes.imshow(x)
    axes.bar(x[0], x[1])
    return line.get_ydata()


def _scores(x):
    metrics = pytest.importorskip("sklearn.metrics")
    return [
        metrics.mean_squared_error(x, x + 1),
        metrics.accuracy_score(x[0] > 0, x[1] > 3),
        metrics.r2_score(x, x),
    ]


# What is done with a tensor of X, and what comes out.
DONE = {
    "float": (lambda x: float(x[0, 1]), 1.0),
    "int": (lambda x: int(x[1, 2]), 5),
    "bool": (lambda x: bool(x[0, 0] > 0), False),
    "complex": (lambda x: complex(x[0, 1]), 1 + 0j),
    "index": (lambda x: [7, 8, 9][ops.convert_to_tensor(2)], 9),
    "range": (lambda x: list(range(ops.convert_to_tensor(2))), [0, 1]),
    "len": (len, 2),
    "iter": (lambda x: [row.shape for row in x], [(3,), (3,)]),
    "unpacking": (lambda x: [row.sum().item() for row in (lambda a, b: (b, a))(*x)], [12, 3]),
    "reversed": (lambda x: [row.tolist() for row in reversed(x)], X[::-1].tolist()),
    "item": (lambda x: x[0, 1].item(), 1.0),
    "item at a place": (lambda x: (x.item(4), x.item(0, 2)), (4.0, 2.0)),
    "tolist": (lambda x: x.tolist(), X.tolist()),
    "format": (lambda x: f"{x[0, 1]:.3f}|{x[1, 2]:>6}", "1.000|   5.0"),
    "str": (lambda x: "float32" in str(x), True),
    "json": (lambda x: json.dumps({"loss": float(x[0, 1]), "all": x.tolist()[0]}),
             '{"loss": 1.0, "all": [0.0, 1.0, 2.0]}'),
    "round": (lambda x: round(x[0, 1] / 3, 2).item(), np.float32(0.33)),
    "math.sqrt": (lambda x: math.sqrt(x[1, 1]), 2.0),
    "math.floor": (lambda x: math.floor(float(x[1, 1])), 4),
    "sum": (lambda x: sum(x).tolist(), [3, 5, 7]),
    "max": (lambda x: max(x[0]).item(), 2.0),
    "sorted": (lambda x: [v.item() for v in sorted(x[0], reverse=True)], [2, 1, 0]),
    "abs": (lambda x: abs(-x).tolist(), X.tolist()),
    "divmod": (lambda x: [v.tolist() for v in divmod(x[1], 2)], [[1, 2, 2], [1, 0, 1]]),
    "zip": (lambda x: [(a.item(), b.item()) for a, b in zip(*x, strict=True)],
            [(0, 3), (1, 4), (2, 5)]),
    "hash": (lambda x: len({x, x, copy.copy(x)}), 2),
    "length_hint": (operator.length_hint, 2),
    "in-place operator": (lambda x: operator.iadd(x, 1).tolist(), (X + 1).tolist()),
    "pickle": (lambda x: pickle.loads(pickle.dumps(x)).tolist(), X.tolist()),
    "deepcopy": (lambda x: copy.deepcopy({"x": [x]})["x"][0].tolist(), X.tolist()),
    "asarray": (lambda x: np.asarray(x).tolist(), X.tolist()),
    "array of dtype": (lambda x: np.array(x, dtype="float64", copy=True).dtype.name, "float64"),
    "no copy": (lambda x: np.shares_memory(np.asarray(x, copy=False), x.numpy()), True),
    "array of scalars": (lambda x: np.array([x[0, 0], x[1, 2]]).tolist(), [0, 5]),
    "numpy of tensors": (lambda x: np.vstack([x, x]).shape, (4, 3)),
    "allclose": (lambda x: np.allclose(x, X), True),
    "assert_allclose": (lambda x: np.testing.assert_allclose(x, X), None),
    "assigned": (lambda x: _assigned(x).tolist(), X.tolist()),
    "frame": (lambda x: pd.DataFrame(x).to_numpy().tolist(), X.tolist()),
    "series": (lambda x: pd.Series(x[0]).sum(), 3.0),
    "scikit-learn": (_scores, [1.0, 1.0, 1.0]),
    "matplotlib": (lambda x: _shown(x).tolist(), [3, 4, 5]),
}  # fmt: skip


def _assigned(x):
    array = np.zeros((2, 3), "float32")
    array[:] = x
    return array


@pytest.mark.parametrize("name", DONE)
def test_what_is_done_with_a_tensor(name):
    done, wanted = DONE[name]
    assert done(ops.convert_to_tensor(X)) == wanted


IN_PLACE = {
    "setitem": lambda x: operator.setitem(x, (0, 0), 9.0),
    "numpy": lambda x: x.numpy().__setitem__(0, 1),
    "asarray": lambda x: np.asarray(x).__setitem__(0, 1),
    "out": lambda x: np.add(X, X, out=x),
    "sum out": lambda x: np.sum(X, out=x),
    "copyto": lambda x: np.copyto(x, X),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_nothing_writes_into_a_tensor(name):
    x = ops.convert_to_tensor(X)
    with pytest.raises((TypeError, ValueError)):
        IN_PLACE[name](x)
    np.testing.assert_array_equal(x.numpy(), X)


def test_assignment_names_what_to_write_instead():
    with pytest.raises(TypeError, match=r"x\.at\[key\]\.set"):
        ops.zeros((2,))[0] = 1


def test_slots_are_no_methods():
    from kerasvino.tensor import register_method

    with pytest.raises(AssertionError):
        register_method("record", lambda x: x)
    assert not {name for name in Tensor.__slots__ if callable(getattr(Tensor, name))}
