"""What errors say: the operation, the layer, the operands; not where OpenVINO's source lies."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kerasvino
from kerasvino.errors import GraphRangeError, IndexRangeError, LoweringError, TracedValueError
from kerasvino.graph.refusal import in_plain_words
from kerasvino.primitives.operation_errors import described, explained
from kerasvino.runtime.function import Function
from kerasvino.tensor import Tensor


def f32(*shape):
    return np.ones(shape, "float32")


def i32(*shape):
    return np.ones(shape, "int32")


def boolean(*shape):
    return np.ones(shape, "bool")


image = ops.image
# Bad calls: the function, its operands, and what the error is and says beside layer and shapes.
BAD = {
    "add": (ops.add, f32(2, 3), f32(2, 4), LoweringError, "broadcast"),
    "radd": (lambda x, y: x + y, f32(2, 3), f32(2, 4), LoweringError, "add"),
    "subtract of booleans": (ops.subtract, boolean(2), boolean(2), TypeError, "subtract"),
    "negative of booleans": (ops.negative, boolean(2), TypeError, "negative"),
    "logical_and": (ops.logical_and, boolean(2, 3), boolean(2, 4), LoweringError, "logical_and"),
    "where": (lambda x, y: ops.where(x > 0, x, y), f32(2, 3), f32(2, 4), LoweringError, "select"),
    "matmul": (ops.matmul, f32(2, 3), f32(4, 5), ValueError, "matmul"),
    "matmul of batches": (ops.matmul, f32(2, 2, 3), f32(3, 3, 5), LoweringError, "before the last"),
    "matmul of scalars": (ops.matmul, f32(), f32(3), ValueError, "multiply"),
    "@": (lambda x, y: x @ y, f32(2, 3), f32(4, 5), ValueError, "matmul"),
    "dot": (ops.dot, f32(2, 3), f32(4, 5), ValueError, "dot"),
    "tensordot": (
        lambda x, y: ops.tensordot(x, y, axes=1), f32(2, 3), f32(4, 5), ValueError, "tensordot",
    ),
    "einsum": (lambda x, y: ops.einsum("ab,bc", x, y), f32(2, 3), f32(4, 5), LoweringError, "rows"),
    "einsum, ranks": (
        lambda x, y: ops.einsum("abc,bc", x, y), f32(2, 3), f32(3, 5), ValueError, "einsum",
    ),
    "concatenate": (
        lambda x, y: ops.concatenate([x, y]), f32(2, 3, 1), f32(3, 3, 2), LoweringError, "join",
    ),
    "concatenate, ranks": (
        lambda x, y: ops.concatenate([x, y]), f32(2, 3), f32(2, 3, 1), LoweringError, "one rank",
    ),
    "concatenate, axis": (
        lambda x, y: ops.concatenate([x, y], 3), f32(2, 3), f32(2, 3), ValueError, "axis 3",
    ),
    "stack": (lambda x, y: ops.stack([x, y]), f32(2, 3), f32(2, 4), LoweringError, "concatenate"),
    "reshape": (lambda x: ops.reshape(x, (4, 5)), f32(2, 3), LoweringError, "as many elements"),
    "reshape, -1": (lambda x: ops.reshape(x, (4, -1)), f32(2, 3), LoweringError, "multiple"),
    "reshape, None": (lambda x: ops.reshape(x, (None, 3)), f32(2, 3), TypeError, "ops.shape"),
    "broadcast_to": (
        lambda x: ops.broadcast_to(x, (5, 4)), f32(2, 3), LoweringError, "broadcast_to",
    ),
    "squeeze": (lambda x: ops.squeeze(x, 1), f32(2, 3), ValueError, "squeeze"),
    "expand_dims": (lambda x: ops.expand_dims(x, 5), f32(2, 3), ValueError, "expand_dims"),
    "transpose": (lambda x: ops.transpose(x, (0, 2)), f32(2, 3), ValueError, "transpose"),
    "transpose, twice": (lambda x: ops.transpose(x, (0, 0)), f32(2, 3), ValueError, "repeated"),
    "roll": (lambda x: ops.roll(x, 1, axis=3), f32(3), ValueError, "roll"),
    "sum": (lambda x: ops.sum(x, axis=4), f32(2, 3), ValueError, "sum"),
    "max of nothing": (lambda x: ops.max(x, axis=1), f32(2, 0), ValueError, "max"),
    "softmax": (lambda x: ops.softmax(x, axis=4), f32(2, 3), ValueError, "softmax"),
    "cumsum": (lambda x: ops.cumsum(x, axis=5), f32(2, 3), ValueError, "cumsum"),
    "sort": (lambda x: ops.sort(x, axis=5), f32(2, 3), ValueError, "sort"),
    "top_k": (lambda x: ops.top_k(x, 9), f32(2, 3), ValueError, "top_k"),
    "take": (lambda x, y: ops.take(x, y, axis=4), f32(2, 3), i32(2), ValueError, "take"),
    "take_along_axis": (
        lambda x, y: ops.take_along_axis(x, y, axis=1), f32(2, 3), i32(5, 3), LoweringError,
        "all axes but `axis`",
    ),
    "take_along_axis, ranks": (
        lambda x, y: ops.take_along_axis(x, y, axis=1), f32(2, 3), i32(5), ValueError, "one rank",
    ),
    "getitem": (lambda x: x[5], f32(2, 3), IndexRangeError, "getitem"),
    "getitem, too many": (lambda x: x[0, 0, 0], f32(2, 3), IndexError, "getitem"),
    "split": (lambda x: ops.split(x, 2, axis=1), f32(2, 3), ValueError, "split"),
    "slice": (lambda x: ops.slice(x, (0, 0), (5, 5)), f32(2, 3), ValueError, "slice"),
    "slice_update": (
        lambda x, y: ops.slice_update(x, (0, 0), y), f32(2, 3), f32(5, 5), ValueError,
        "slice_update",
    ),
    "scatter": (
        lambda x, y: ops.scatter(x, y, (4,)), i32(2, 1), f32(3), LoweringError, "one update",
    ),
    "segment_sum": (
        lambda x, y: ops.segment_sum(x, y, 3), f32(4, 2), f32(4), ValueError, "segment_sum",
    ),
    "conv": (ops.conv, f32(1, 8, 8, 3), f32(3, 3, 4, 5), ValueError, "conv"),
    "conv of no rows": (
        lambda x, y: ops.conv(x, y, padding="same"), f32(1, 0, 8, 3), f32(3, 3, 3, 5),
        LoweringError, "window is larger",
    ),
    "max_pool of no rows": (lambda x: ops.max_pool(x, 2), f32(1, 0, 8, 3), ValueError, "max_pool"),
    "average_pool of no rows": (
        lambda x: ops.average_pool(x, 2, padding="same"), f32(1, 0, 8, 3), LoweringError,
        "average_pool",
    ),
    "resize of no rows": (
        lambda x: image.resize(x, (4, 4)), f32(1, 0, 8, 3), ValueError, "without pixels",
    ),
    "bitwise_and": (ops.bitwise_and, f32(2, 3), f32(2, 3), TypeError, "bitwise_and"),
    "batch_normalization": (
        lambda x, y: ops.batch_normalization(x, y, y, axis=-1), f32(2, 3), f32(4), LoweringError,
        "batch_norm",
    ),
    "attention": (
        lambda x, y: ops.dot_product_attention(x, y, y), f32(1, 2, 3, 4), f32(1, 2, 3, 5),
        LoweringError, "matmul",
    ),
    "binary_crossentropy": (
        ops.binary_crossentropy, f32(2, 3), f32(2, 4), ValueError, "binary_crossentropy",
    ),
    "complex": (ops.view_as_complex, f32(3, 2), TypeError, "complex64"),
    "range": (lambda x: ops.cast(x, "int64") + 2**40, f32(3), GraphRangeError, "add"),
    "quantile": (lambda x: ops.quantile(x, 0.5, method="a"), f32(3), ValueError, "quantile"),
    "bool()": (lambda x: x if x[0] > 0 else -x, f32(3), TracedValueError, "ops.cond"),
    "numpy()": (lambda x: np.asarray(x), f32(3), TracedValueError, "run_eagerly"),
    "cond": (
        lambda x: ops.cond(x[0] > 0, lambda: x, lambda: ops.cast(x, "int32")), f32(3),
        LoweringError, "cond",
    ),
    "within a branch": (
        lambda x, y: ops.cond(x[0, 0] > 0, lambda: x + y, lambda: x), f32(2, 3), f32(2, 4),
        LoweringError, "add",
    ),
    "within a loop": (
        lambda x, y: ops.fori_loop(0, 3, lambda i, v: v + y, x), f32(2, 3), f32(2, 4),
        LoweringError, "add",
    ),
}  # fmt: skip
# Those that have no such message eagerly: they are right there, or of Keras's or Python's making.
RIGHT_EAGERLY = {"complex", "range", "bool()", "numpy()", "cond", "within a loop"}
SHAPELESS = {"bool()", "numpy()", "cond", "range"}


class Calling(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function
        self.built = True

    def call(self, *args):
        return self.function(*args)


def raised(name, run):
    function, *operands, kind, words = BAD[name]
    outer = Calling(Calling(function, name="inner"), name="outer")
    with pytest.raises(kind) as caught:
        run(outer)(*map(ops.convert_to_tensor, operands))
    return caught.value, str(caught.value), operands, words


@pytest.mark.parametrize("name", BAD)
def test_a_bad_call_in_a_graph(name):
    error, message, operands, words = raised(name, kerasvino.jit)
    assert type(error) is BAD[name][-2]
    assert words in message
    assert message.count("in layer outer/inner") + message.count("In layer outer/inner") == 1
    for trace in ("src/", ".hpp", ".cpp", "Check '", "friendly_name"):
        assert trace not in message
    if name not in SHAPELESS:
        assert f"{operands[0].dtype}[" in message


@pytest.mark.parametrize("name", sorted(BAD.keys() - RIGHT_EAGERLY))
def test_a_bad_call_that_runs_eagerly(name):
    function, *operands, kind, _ = BAD[name]
    kinds = (ValueError, IndexError) if issubclass(kind, ValueError) else kind
    outer = Calling(Calling(function, name="inner"), name="outer")
    with pytest.raises(kinds) as caught:
        outer(*map(ops.convert_to_tensor, operands))
    assert str(caught.value).count("in layer outer/inner") == 1
    if name not in SHAPELESS:
        assert f"{operands[0].dtype}[" in str(caught.value)


def test_what_openvino_said_is_the_cause():
    with pytest.raises(LoweringError) as caught:
        kerasvino.jit(ops.add)(f32(2, 3), f32(2, 4))
    assert str(caught.value).startswith("add on (float32[2, 3], float32[2, 4]): the shapes do not")
    assert "src/core" in str(caught.value.__cause__)


def test_errors_of_a_users_own_code_stay_as_they_are():
    def complains(x):
        ops.add(x, 1)
        raise ValueError("of my own")

    def complains_in_a_branch(x):
        return ops.cond(x[0] > 0, lambda: complains(x), lambda: x)

    for function in (complains, complains_in_a_branch):
        for run in (lambda f: f, kerasvino.jit):
            with pytest.raises(ValueError, match="of my own") as caught:
                run(Calling(function))(f32(2))
            assert "in layer" not in str(caught.value)


def test_errors_in_a_gradient_name_the_layer():
    layer = Calling(lambda x: ops.sum(ops.abs(x) @ ops.ones((4, 4))), name="outer")
    with pytest.raises(ValueError, match="matmul in layer outer"):
        kerasvino.jit(kerasvino.grad(layer))(f32(2, 3))


def test_a_model_that_is_given_another_shape():
    x = keras.Input((None,))
    model = keras.Model(x, Calling(lambda v: v + ops.ones((5,)), name="adds")(x), name="outer")
    for rows in (1, 2, 3, 4, 6):
        np.testing.assert_array_equal(model.predict_on_batch(f32(rows, 5)), 2)
    with pytest.raises(
        ValueError, match=r"add in layer adds, in a run on \(float32\[2, 7\]\)"
    ) as e:
        model.predict_on_batch(f32(2, 7))
    assert "broadcast" in str(e.value) and "src/" not in str(e.value)


@pytest.mark.parametrize(
    "name, body",
    {
        "matmul": lambda x: x @ ops.ones((5, 5)),
        "concatenate": lambda x: ops.concatenate([x, ops.ones((1, 5))], 0),
        "reshape": lambda x: ops.reshape(x, (-1, 5)),
        "select": lambda x: ops.where(x > 0, x, ops.ones((5,))),
        "multiply": lambda x: x * ops.ones((5,)),
        "reshape ": lambda x: ops.split(x, 5, axis=1)[0],
    }.items(),
)
def test_a_program_of_unknown_lengths_that_is_given_a_wrong_one(name, body):
    function = Function(lambda x: [Calling(body, name="inner")(x)])
    for rows in (1, 2, 3, 4, 6):
        function(Tensor(f32(rows, 5)))
    with pytest.raises(
        LoweringError, match=rf"{name.strip()} in layer inner, .*\[2, 7\]"
    ) as caught:
        function(Tensor(f32(2, 7)))
    assert "src/" not in str(caught.value)


@pytest.mark.parametrize(
    "error, kind",
    [
        (ValueError("a"), ValueError),
        (TypeError("a"), TypeError),
        (IndexError("a"), IndexError),
        (KeyError("a"), Exception),
        (np.linalg.LinAlgError("a"), np.linalg.LinAlgError),
        (np.exceptions.AxisError(5, 2), np.exceptions.AxisError),
        (UnicodeDecodeError("utf8", b"", 0, 1, "a"), ValueError),
        (RuntimeError("Exception from src/core/node.cpp:5:\n"), LoweringError),
        (NotImplementedError("a"), NotImplementedError),
        (OverflowError("a"), OverflowError),
    ],
)
def test_an_explained_error_is_of_the_same_class(error, kind):
    again = explained(error, "name", [ops.ones((2,))], {"axis": 3, "shape": (1,)})
    assert type(again) is kind
    assert str(again).startswith("name on (float32[2], axis=3, shape=(1,)): ")
    assert "src/" not in str(again)


def test_words_of_openvino_that_mean_nothing_to_us_are_kept_without_its_files():
    said = (
        "Check 'a.b(c)\n && d' failed at src/core/x.hpp:26:\nWhile validating node 'opset1::Add A "
        "(B[0]:f32[2,3]) -> ()' with friendly_name 'A':\nShape inference input shapes {[2],[3]}\n"
        "Something new.\n\n"
    )
    assert in_plain_words(said) == "Something new."


def test_values_in_messages_are_short():
    assert described(ops.ones((2, 3), "int8")) == "int8[2, 3]"
    assert described([ops.ones(()), np.ones(3)]) == "[float32[], float64[3]]"
    assert described((1,)) == "(1,)"
    assert len(described("a" * 100)) == 60


def test_a_variable_that_cannot_be_made_says_why():
    class Metric(keras.metrics.Metric):
        def __init__(self):
            super().__init__()
            self.total = self.add_variable((), initializer=None)

    with pytest.raises(ValueError, match="dtype"):
        Metric()
