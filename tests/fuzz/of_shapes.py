"""Operations that move elements: shapes, joining, indexing, scattering."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st
from keras import ops

from tests.fuzz.arrays import ALL, NUMERIC, Array, arrays, axis_of
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]

_SEED = st.integers(0, 2**16)


def _with(least, rule, most=4, dtypes=ALL):
    """One array and the keyword arguments `rule(draw, shape)`."""

    @st.composite
    def both(draw):
        array = draw(arrays(least, most, dtypes))
        return [array], rule(draw, array.shape)

    return both()


def _none(draw, shape):
    return {}


def _axis(draw, shape):
    return {"axis": draw(axis_of(len(shape)))}


def _pair(draw, shape):
    return {"axis1": draw(axis_of(len(shape))), "axis2": draw(axis_of(len(shape)))}


def _different(draw, shape):
    first, second = draw(st.permutations(range(len(shape))))[:2]
    return {"axis1": first, "axis2": second - draw(st.sampled_from([0, len(shape)]))}


def _offset(draw, shape):
    return {"k": draw(st.integers(-3, 3))}


def _reshape(draw, shape):
    size = math.prod(shape)
    if size == 0:
        return {"newshape": draw(st.sampled_from([(0,), (2, 0), (0, 3, 1)]))}
    left = draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
    whole = draw(st.sampled_from([(size,), (left, size // left), (1, size), (left, 1, -1), (-1,)]))
    return {"newshape": whole}


def _squeeze(draw, shape):
    single = [i for i, n in enumerate(shape) if n == 1]
    return {"axis": draw(st.one_of(st.none(), st.sampled_from(single))) if single else None}


def _expand(draw, shape):
    return {"axis": draw(st.integers(-len(shape) - 1, len(shape)))}


def _permutation(draw, shape):
    return {"axes": draw(st.one_of(st.none(), st.permutations(range(len(shape))).map(tuple)))}


def _tile(draw, shape):
    return {"repeats": tuple(draw(st.lists(st.integers(0, 3), max_size=len(shape) + 1)))}


def _repeat(draw, shape):
    axis = draw(st.one_of(st.none(), axis_of(len(shape)))) if shape else None
    return {"repeats": draw(st.integers(0, 3)), "axis": axis}


def _roll(draw, shape):
    axis = draw(st.one_of(st.none(), axis_of(len(shape)))) if shape else None
    return {"shift": draw(st.integers(-7, 7)), "axis": axis}


def _move(draw, shape):
    return {"source": draw(axis_of(len(shape))), "destination": draw(axis_of(len(shape)))}


def _flip(draw, shape):
    return {"axis": draw(st.one_of(st.none(), axis_of(len(shape)))) if shape else None}


def _turn(draw, shape):
    first, second = draw(st.permutations(range(len(shape))))[:2]
    return {"k": draw(st.integers(-2, 5)), "axes": (first, second)}


def _broadcast(draw, shape):
    grown = tuple(draw(st.integers(0, 3)) if n == 1 else n for n in shape)
    return {"shape": tuple(draw(st.lists(st.integers(1, 3), max_size=2))) + grown}


def _pad(draw, shape):
    width = st.tuples(st.integers(0, 3), st.integers(0, 3))
    mode = draw(st.sampled_from(["constant", "edge", "reflect", "symmetric"]))
    if mode != "constant" and 0 in shape:
        mode = "constant"
    return {"pad_width": tuple(draw(width) for _ in shape), "mode": mode}


def _split(draw, shape):
    axis = draw(axis_of(len(shape)))
    length = shape[axis]
    cuts = tuple(sorted(draw(st.lists(st.integers(0, length), min_size=1, max_size=3))))
    return {"indices_or_sections": draw(st.sampled_from([1, cuts])), "axis": axis}


def _slices(draw, shape):
    """An index of `x[index]`: integers, slices, None, Ellipsis."""
    index = []
    for length in shape[: draw(st.integers(0, len(shape)))]:
        part = st.integers(-length - 2, length + 2)
        choices = [st.builds(slice, part, part, st.sampled_from([1, 2, -1, -2, None]))]
        choices.append(st.just(slice(None)))
        if length:
            choices.append(st.integers(-length, length - 1))
        index.append(draw(st.one_of(choices)))
    index.insert(draw(st.integers(0, len(index))), draw(st.sampled_from([None, Ellipsis])))
    return {"index": tuple(index)}


@st.composite
def _joined(draw, new_axis):
    shape = draw(arrays(0 if new_axis else 1, 3)).shape
    axis = draw(st.integers(0, len(shape) - (0 if new_axis else 1)))
    found = []
    for _ in range(draw(st.integers(1, 3))):
        own = list(shape)
        if not new_axis:
            own[axis] = draw(st.integers(0, 3))
        dtype = draw(st.sampled_from(ALL))
        found.append(Array(tuple(own), dtype, "moderate", draw(_SEED)))
    negative = draw(st.booleans())
    return found, {"axis": axis - (len(shape) + new_axis) if negative else axis}


@st.composite
def _taken(draw):
    array = draw(arrays(1, 4).filter(lambda a: 0 not in a.shape))
    axis = draw(axis_of(len(array.shape)))
    rng = np.random.default_rng(draw(_SEED))
    length = array.shape[axis]
    indices = rng.integers(-length, length, draw(st.sampled_from([(), (3,), (2, 2), (0,)])))
    return [array], {"indices": indices.astype("int32"), "axis": axis}


@st.composite
def _taken_along(draw):
    array = draw(arrays(1, 4).filter(lambda a: 0 not in a.shape))
    axis = draw(axis_of(len(array.shape)))
    shape = list(array.shape)
    shape[axis] = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(_SEED))
    indices = rng.integers(-array.shape[axis], array.shape[axis], shape).astype("int32")
    return [array], {"indices": indices, "axis": axis}


@st.composite
def _scattered(draw, new):
    """Row indices into an array, and rows."""
    rows, width, count = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(_SEED))
    indices = rng.integers(0, rows, (count, 1)).astype("int32")
    if not new:  # which of several equal indices wins is not defined
        indices = rng.permutation(rows)[:count].reshape(-1, 1).astype("int32")
        count = len(indices)
    dtype = draw(st.sampled_from(NUMERIC))
    values = Array((count, width), dtype, "finite", draw(_SEED))
    if new:
        return [values], {"indices": indices, "shape": (rows, width)}
    return [Array((rows, width), dtype, "any", draw(_SEED)), values], {"indices": indices}


@st.composite
def _updated(draw):
    whole = draw(arrays(1, 4))
    sizes = tuple(draw(st.integers(0, n)) for n in whole.shape)
    starts = tuple(draw(st.integers(0, n - s)) for n, s in zip(whole.shape, sizes, strict=True))
    return [whole, Array(sizes, whole.dtype, "any", draw(_SEED))], {"starts": starts}


@st.composite
def _sliced(draw):
    array = draw(arrays(1, 4))
    sizes = tuple(draw(st.integers(0, n)) for n in array.shape)
    starts = tuple(draw(st.integers(0, n - s)) for n, s in zip(array.shape, sizes, strict=True))
    return [array], {"start_indices": starts, "shape": sizes}


@st.composite
def _one_hot(draw):
    array = draw(arrays(0, 3, ("int8", "int32", "int64", "uint8"), "finite"))
    rank = len(array.shape)
    return [array], {
        "num_classes": draw(st.integers(1, 5)),
        "axis": draw(st.integers(-1, rank)),
        "dtype": draw(st.sampled_from(["float32", "int32", "bool", "float16"])),
    }


OPERATIONS = [
    Operation("reshape", _with(0, _reshape), reference=lambda x, newshape: x.reshape(newshape)),
    Operation("ravel", _with(0, _none), reference=np.ravel),
    Operation("squeeze", _with(0, _squeeze), reference=np.squeeze),
    Operation("expand_dims", _with(0, _expand), reference=np.expand_dims),
    Operation("transpose", _with(0, _permutation), reference=np.transpose),
    Operation("swapaxes", _with(1, _pair), reference=np.swapaxes),
    Operation("moveaxis", _with(1, _move), reference=np.moveaxis),
    Operation("tile", _with(0, _tile), reference=lambda x, repeats: np.tile(x, repeats)),
    Operation("repeat", _with(0, _repeat), reference=np.repeat),
    Operation("roll", _with(0, _roll), reference=np.roll),
    Operation("flip", _with(0, _flip), reference=np.flip),
    Operation("fliplr", _with(2, _none), reference=np.fliplr),
    Operation("flipud", _with(1, _none), reference=np.flipud),
    Operation("rot90", _with(2, _turn), reference=np.rot90),
    Operation("broadcast_to", _with(0, _broadcast), reference=np.broadcast_to),
    Operation("pad", _with(1, _pad), reference=np.pad),
    Operation("split", _with(1, _split)),
    Operation("unstack", _with(1, _axis)),
    Operation("tril", _with(2, _offset), reference=np.tril),
    Operation("triu", _with(2, _offset), reference=np.triu),
    Operation("diag", _with(1, _offset, most=2), reference=np.diag),
    Operation("diagflat", _with(1, _offset, most=2), reference=np.diagflat),
    Operation("diagonal", _with(2, _different), reference=np.diagonal),
    Operation("trace", _with(2, _different, dtypes=NUMERIC), terms="sum"),
    Operation("get_item", _with(0, _slices), call=lambda x, index: x[index],
              reference=lambda x, index: x[index]),
    Operation("take", _taken(), reference=np.take),
    Operation("take_along_axis", _taken_along(), reference=np.take_along_axis),
    Operation("concatenate", _joined(False), call=lambda *x, axis: ops.concatenate(x, axis=axis),
              reference=lambda *x, axis: np.concatenate(x, axis)),
    Operation("stack", _joined(True), call=lambda *x, axis: ops.stack(x, axis=axis),
              reference=lambda *x, axis: np.stack(x, axis)),
    Operation("hstack", _joined(False).filter(lambda p: p[1]["axis"] == min(
        1, len(p[0][0].shape) - 1)), call=lambda *x, axis: ops.hstack(x),
        reference=lambda *x, axis: np.hstack(x)),
    Operation("vstack", _joined(True), call=lambda *x, axis: ops.vstack(x),
              reference=lambda *x, axis: np.vstack(x)),
    Operation("dstack", _joined(True), call=lambda *x, axis: ops.dstack(x),
              reference=lambda *x, axis: np.dstack(x)),
    Operation("meshgrid", st.tuples(
        st.lists(arrays(1, 1), min_size=1, max_size=3),
        st.fixed_dictionaries({"indexing": st.sampled_from(["xy", "ij"])}),
    )),
    Operation("scatter", _scattered(True), terms="sum",
              call=lambda v, indices, shape: ops.scatter(indices, v, shape)),
    Operation("scatter_update", _scattered(False),
              call=lambda x, v, indices: ops.scatter_update(x, indices, v)),
    Operation("slice", _sliced()),
    Operation("slice_update", _updated(),
              call=lambda x, v, starts: ops.slice_update(x, starts, v)),
    Operation("one_hot", _one_hot()),
    Operation("vander", st.tuples(
        arrays(1, 1, ("float32", "int32"), "finite").map(lambda a: [a]),
        st.fixed_dictionaries({"N": st.integers(1, 4), "increasing": st.booleans()}),
    ), terms="largest", tolerance=4),
]  # fmt: skip
