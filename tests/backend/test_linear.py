"""Matrix products and einsum: against NumPy, exact for integers, with and without known shapes."""

import numpy as np
import pytest
from keras import ops

from kerasvino.backend.jit import jit
from kerasvino.graph import Spec, trace
from kerasvino.runtime.program import Program

EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk->ki", (2, 3), (3, 4)),
    ("abc,cd->abd", (2, 3, 4), (4, 5)),
    ("abc,cde->abde", (2, 3, 4), (4, 5, 6)),
    ("abcd,cde->abe", (2, 3, 4, 5), (4, 5, 6)),
    ("aecd,abcd->acbe", (2, 3, 4, 5), (2, 6, 4, 5)),
    ("acbe,aecd->abcd", (2, 4, 6, 3), (2, 3, 4, 5)),
    ("abcde,aebf->adbcf", (2, 3, 4, 5, 6), (2, 6, 3, 7)),
    ("i,i", (4,), (4,)),
    ("i,j->ij", (4,), (3,)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("ij,kl->jl", (2, 3), (4, 5)),
    (",ij", (), (2, 3)),
    ("ii", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("iii->i", (3, 3, 3)),
    ("ijk->ki", (2, 3, 4)),
    ("...ij,...jk->...ik", (5, 2, 3), (3, 4)),
    ("i...,j...k->...ijk", (2, 1, 4), (3, 5, 4, 2)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)),
    ("ij,jk,kl,il->", (2, 3), (3, 4), (4, 5), (2, 5)),
    ("bij,bjk->bik", (1, 2, 3), (5, 3, 4)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk->ik", (0, 2), (2, 3)),
]


def _integers(shape, seed):
    return np.random.default_rng(seed).integers(-(2**31), 2**31, shape, np.int64).astype(np.int32)


@pytest.mark.parametrize("case", EINSUMS, ids=[f"{c[0]}-{i}" for i, c in enumerate(EINSUMS)])
@pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])
def test_einsum_wraps_integers_as_numpy_does(case, run):
    subscripts, *shapes = case
    arrays = [_integers(shape, i) for i, shape in enumerate(shapes)]
    with np.errstate(all="ignore"):
        expected = np.einsum(subscripts, *arrays)
    found = run(lambda *xs: ops.einsum(subscripts, *xs))(*map(ops.convert_to_tensor, arrays))
    assert found.dtype == "int32"
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", EINSUMS, ids=[f"{c[0]}-{i}" for i, c in enumerate(EINSUMS)])
def test_einsum_with_unknown_shapes(case):
    from kerasvino.runtime.program import Program

    subscripts, *shapes = case
    arrays = [np.random.default_rng(i).normal(size=s).astype("f") for i, s in enumerate(shapes)]
    specs = [Spec((None,) * a.ndim, "float32") for a in arrays]
    graph = trace(lambda *xs: [ops.einsum(subscripts, *xs)], specs)
    (found,) = Program(graph, "CPU", {})(arrays)
    np.testing.assert_allclose(found, np.einsum(subscripts, *arrays), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [("ij->ijk", [(2, 3)]), ("ij->ii", [(2, 3)]), ("ij,jk", [(2, 3)]), ("ij", [(2, 3, 4)])],
)
def test_einsum_explains_what_is_wrong(subscripts, shapes):
    with pytest.raises(ValueError, match="einsum"):
        ops.einsum(subscripts, *[np.ones(s, "float32") for s in shapes])


def test_products_of_int8_are_int32():
    x = np.full((1, 2000), -128, np.int8)
    assert ops.matmul(x, x.T).item() == 2000 * 2**14
    assert ops.einsum("ij,kj->ik", x, x).item() == 2000 * 2**14
    assert ops.matmul(x, x.T.astype("uint8")).dtype == "int16"


def test_bool_products_answer_any():
    x = np.array([[True, False], [False, False]])
    assert ops.einsum("ij,jk->ik", x, x).tolist() == (x @ x).tolist()
    assert ops.einsum("ij->i", x).tolist() == [True, False]


@pytest.mark.parametrize(
    ("first", "second"),
    [((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((5, 2, 3), (3,)), ((3,), (5, 3, 2))],
)
@pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])
def test_vectors_in_matmul(first, second, run):
    x, y = np.random.rand(*first).astype("f"), np.random.rand(*second).astype("f")
    found = run(ops.matmul)(ops.convert_to_tensor(x), ops.convert_to_tensor(y))
    np.testing.assert_allclose(found, x @ y, rtol=1e-6)


def test_a_swapped_operand_needs_no_transpose():
    graph = trace(
        lambda x, y: [ops.matmul(ops.transpose(x), ops.swapaxes(y, -1, -2))],
        [Spec((3, 2), "float32"), Spec((4, 3), "float32")],
    )
    kinds = [node.get_type_name() for node in graph.model.get_ops()]
    assert "Transpose" not in kinds
    assert kinds.count("MatMul") == 1


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda m, x, y: m.tensordot(x, y, axes=2), [(2, 3, 4), (3, 4, 5)]),
        (lambda m, x, y: m.tensordot(x, y, axes=0), [(2, 3), (4,)]),
        (lambda m, x, y: m.tensordot(x, y, axes=([0, -1], [1, 0])), [(2, 3, 4), (4, 2, 5)]),
        (lambda m, x, y: m.dot(x, y), [(2, 3, 4), (5, 4, 6)]),
        (lambda m, x, y: m.dot(x, y), [(2, 3), (3,)]),
        (lambda m, x, y: m.inner(x, y), [(2, 3, 4), (5, 4)]),
        (lambda m, x, y: m.outer(x, y), [(2, 3), (4,)]),
        (lambda m, x, y: m.vdot(x, y), [(2, 3), (3, 2)]),
        (lambda m, x, y: m.kron(x, y), [(2, 3), (4, 5)]),
        (lambda m, x, y: m.kron(x, y), [(3,), (2, 2)]),
        (lambda m, x, y: m.cross(x, y), [(4, 3), (3,)]),
        (lambda m, x, y: m.cross(x, y, axis=0), [(3, 4), (3, 4)]),
        (lambda m, x, y: m.correlate(x, y, mode="same"), [(7,), (4,)]),
        (lambda m, x, y: m.correlate(x, y, mode="same"), [(4,), (7,)]),
        (lambda m, x, y: m.correlate(x, y, mode="valid"), [(4,), (7,)]),
        (lambda m, x, y: m.correlate(x, y, mode="full"), [(3,), (6,)]),
    ],
)
@pytest.mark.parametrize("run", [lambda f: f, jit], ids=["eager", "traced"])
def test_products_of_tensors(function, shapes, run):
    x, y = (np.random.default_rng(i).normal(size=s) for i, s in enumerate(shapes))
    x, y = x.astype("float32"), y.astype("float32")
    found = run(lambda x, y: function(ops, x, y))(*map(ops.convert_to_tensor, (x, y)))
    np.testing.assert_allclose(found, function(np, x, y), rtol=2e-5, atol=2e-6)


def test_mismatched_matmul_says_what_was_given():
    with pytest.raises(ValueError, match=r"length 3.*rows of x2, 2"):
        ops.matmul(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="Use multiply"):
        ops.matmul(np.ones((2, 3)), 2.0)


@pytest.mark.parametrize("wrong", [3, 7])
@pytest.mark.parametrize("known", [1, 5])
@pytest.mark.parametrize(
    "product",
    [
        lambda x, y: ops.matmul(x, y),
        lambda x, y: ops.matmul(ops.transpose(y), ops.transpose(x)),
        lambda x, y: ops.einsum("ab,bc->ac", x, y),
    ],
    ids=["right", "left", "einsum"],
)
def test_a_product_of_an_unknown_length_with_a_known_one(product, known, wrong):
    """Where weights are known, the plugin takes their length for that of the other operand."""
    y = np.random.default_rng(0).normal(size=(known, 4)).astype("float32")
    graph = trace(lambda x: [product(x, y)], [Spec((None, None), "float32")])
    program = Program(graph, "CPU", {})
    x = np.random.default_rng(1).normal(size=(2, known)).astype("float32")
    np.testing.assert_allclose(program([x])[0], product(x, y), rtol=1e-5, atol=1e-6)
    x = np.ones((2, wrong), "float32")
    try:
        eager = product(x, y)  # einsum broadcasts a length of 1
    except ValueError:
        with pytest.raises(ValueError, match="matmul"):
            program([x])
    else:
        assert known == 1
        np.testing.assert_allclose(program([x])[0], eager, rtol=1e-5, atol=1e-6)
