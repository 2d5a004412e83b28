"""Reductions, statistics, cumulative operations, sorting and searching."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from keras import ops

from tests.fuzz.arrays import ALL, FLOATS, INTEGERS, NUMERIC, Array, arrays, axes, axis_of
from tests.fuzz.operation import Operation

__all__ = ["OPERATIONS"]


@st.composite
def _reduced(draw, dtypes=ALL, values="moderate", keepdims=True, least=0, one_axis=False):
    array = draw(arrays(least, dtypes=dtypes, values=values))
    rank = len(array.shape)
    if one_axis:
        axis = draw(st.one_of(st.none(), axis_of(rank))) if rank else None
    else:
        axis = draw(axes(rank))
    attrs = {"axis": axis}
    if keepdims:
        attrs["keepdims"] = draw(st.booleans())
    return [array], attrs


@st.composite
def _along(draw, dtypes=ALL, values="any", least=1, **more):
    """One array and a valid axis of it."""
    array = draw(arrays(least, dtypes=dtypes, values=values))
    attrs = {"axis": draw(axis_of(len(array.shape)))}
    return [array], attrs | {name: draw(choice) for name, choice in more.items()}


def _filled(strategy):
    """Of the drawn arrays those with elements: a maximum of nothing is an error."""
    return strategy.filter(lambda pair: all(0 not in a.shape for a in pair[0]))


@st.composite
def _sorted_and_values(draw):
    dtype = draw(st.sampled_from(NUMERIC))
    size = draw(st.integers(0, 6))
    keys = Array((size,), dtype, "finite", draw(st.integers(0, 2**16)))
    return [keys, draw(arrays(0, 2, (dtype,), "finite"))], {
        "side": draw(st.sampled_from(["left", "right"]))
    }


@st.composite
def _top(draw):
    array = draw(arrays(1, dtypes=NUMERIC).filter(lambda a: a.shape[-1] > 0))
    return [array], {"k": draw(st.integers(1, array.shape[-1]))}


@st.composite
def _counts(draw):
    values = Array((draw(st.integers(1, 8)),), "int32", "indices", draw(st.integers(0, 2**16)))
    return [values], {"minlength": draw(st.integers(4, 9))}


@st.composite
def _quantiles(draw):
    (array,), attrs = draw(_filled(_reduced(FLOATS, "finite")))
    attrs["q"] = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, (0.1, 0.9)]))
    attrs["method"] = draw(st.sampled_from(["linear", "lower", "higher", "nearest", "midpoint"]))
    return [array], attrs


def _diff(x, n, axis):
    return ops.diff(x, n=n, axis=axis)


OPERATIONS = [
    *(
        Operation(n, _reduced(), reference=getattr(np, n), terms="sum", tolerance=2)
        for n in ("sum", "mean", "nansum", "nanmean")
    ),
    *(
        Operation(n, _reduced(NUMERIC, "finite"), reference=getattr(np, n), terms="square")
        for n in ("std", "var", "nanstd", "nanvar")
    ),
    *(Operation(n, _reduced(), tolerance=4) for n in ("prod", "nanprod")),
    *(
        Operation(n, _filled(_reduced(values="any")), reference=getattr(np, n))
        for n in ("max", "min", "nanmax", "nanmin", "amax", "amin", "ptp")
    ),
    *(Operation(n, _reduced(values="any"), reference=getattr(np, n)) for n in ("all", "any")),
    *(
        Operation(n, _filled(_reduced(values="any", one_axis=True)), reference=getattr(np, n),
                  as_given=True)
        for n in ("argmax", "argmin")
    ),
    *(
        Operation(n, _filled(_reduced(NUMERIC, "finite", keepdims=False, one_axis=True)))
        for n in ("nanargmax", "nanargmin")
    ),
    Operation("count_nonzero", _reduced(values="any", keepdims=False), reference=np.count_nonzero,
              as_given=True),
    Operation("logsumexp", _filled(_reduced(FLOATS, "moderate")), terms="largest"),
    Operation("norm", _reduced(NUMERIC, "finite", one_axis=True), terms="largest"),
    *(
        Operation(n, _filled(_reduced(FLOATS, "finite")), terms="largest")
        for n in ("median", "nanmedian")
    ),
    Operation("quantile", _quantiles(), terms="largest"),
    Operation("nanquantile", _quantiles(), terms="largest"),
    Operation("average", _reduced(NUMERIC, "finite", keepdims=False), terms="sum"),
    Operation("trapezoid", _along(FLOATS, "finite"), terms="sum"),
    *(
        Operation(n, _along(values="moderate"), reference=getattr(np, n), terms="sum", tolerance=4)
        for n in ("cumsum", "nancumsum")
    ),
    *(
        Operation(n, _along(values="moderate"), tolerance=8) for n in ("cumprod", "nancumprod")
    ),
    Operation("sort", _along(), reference=lambda x, axis: np.sort(x, axis)),
    Operation("argsort", _along(), call=lambda x, axis: ops.argsort(x, axis=axis)),
    Operation("top_k", _top()),
    Operation("searchsorted", _sorted_and_values(), call=lambda a, v, side: ops.searchsorted(
        ops.sort(a), v, side=side)),
    Operation("digitize", st.tuples(
        arrays(0, 3, NUMERIC).map(lambda a: [a]),
        st.just({"bins": np.array([-3.0, 0.0, 1.0, 6.0], "float32")}),
    )),
    Operation("bincount", _counts()),
    Operation("diff", _along(ALL, "moderate", n=st.integers(1, 2)), call=_diff),
    Operation("isin", st.tuples(
        st.tuples(arrays(0, 3, INTEGERS, "indices"), arrays(0, 2, INTEGERS, "indices")).map(list),
        st.fixed_dictionaries({"invert": st.booleans()}),
    )),
    Operation("corrcoef", st.tuples(
        arrays(2, 2, ("float32",), "finite").filter(lambda a: a.shape[1] > 2).map(lambda a: [a]),
        st.just({}),
    ), tolerance=20, terms="largest"),
]  # fmt: skip
