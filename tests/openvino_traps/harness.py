"""Runs one OpenVINO expression on the CPU plugin, on plain NumPy arrays."""

import subprocess
import sys
import textwrap

import ml_dtypes
import numpy as np
import openvino as ov
import openvino.opset16 as ops
from openvino import Type

BF16 = np.dtype(ml_dtypes.bfloat16)
CONFIG = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 0}
TYPES = {
    np.dtype(name): getattr(Type, label)
    for name, label in (
        ("bool", "boolean"),
        ("int8", "i8"),
        ("uint8", "u8"),
        ("int16", "i16"),
        ("uint16", "u16"),
        ("int32", "i32"),
        ("uint32", "u32"),
        ("int64", "i64"),
        ("uint64", "u64"),
        ("float16", "f16"),
        ("float32", "f32"),
        ("float64", "f64"),
    )
} | {BF16: Type.bf16}

# Inputs as Parameters of a static shape, of a dynamic one, and as Constants (folded by other
# kernels than those that run).
MODES = ("static", "dynamic", "constant")
core = ov.Core()


def tensor(array):
    """An ov.Tensor with the array's values; bfloat16 goes through its bits."""
    array = np.asarray(array, order="C")  # np.ascontiguousarray would make 0-d arrays 1-d
    if array.dtype != BF16:
        return ov.Tensor(array)
    result = ov.Tensor(Type.bf16, ov.Shape(array.shape))
    result.data[...] = array.view(np.float16)
    return result


def compiled(expression, arrays, mode="static"):
    """The compiled model of `expression(*outputs)`, and the tensors to feed it."""
    inputs, feeds = [], []
    for array in map(np.asarray, arrays):
        if mode == "constant":
            inputs.append(ops.constant(tensor(array)))
            continue
        shape = list(array.shape) if mode == "static" else [-1] * array.ndim
        inputs.append(ops.parameter(ov.PartialShape(shape), TYPES[array.dtype]))
        feeds.append(tensor(array))
    results = expression(*(node.output(0) for node in inputs))
    results = results if isinstance(results, list | tuple) else [results]
    results = [r.output(0) if isinstance(r, ov.Node) else r for r in results]
    model = ov.Model(results, inputs if mode != "constant" else [])
    return core.compile_model(model, "CPU", CONFIG), feeds


def run(expression, *arrays, mode="static"):
    """The expression's value as a NumPy array (a list of them if it returns several)."""
    program, feeds = compiled(expression, arrays, mode)
    request = program.create_infer_request()
    for position, feed in enumerate(feeds):
        request.set_input_tensor(position, feed)
    request.infer()
    values = []
    for position in range(len(program.outputs)):
        result = request.get_output_tensor(position)
        value = np.array(result.data)
        values.append(value.view(BF16) if result.element_type == Type.bf16 else value)
    return values if len(values) > 1 else values[0]


def same(got, want):
    """Whether two arrays agree in dtype, shape and every value (NaN equals NaN)."""
    got, want = np.asarray(got), np.asarray(want)
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    if got.dtype.kind in "biu":
        return bool((got == want).all())
    got, want = got.astype(np.float64), want.astype(np.float64)
    return bool(((got == want) | (np.isnan(got) & np.isnan(want))).all())


def assert_wrong(got, want):
    """The plugin still computes this wrong; once it does not, our detour can go."""
    assert not same(got, want), "OpenVINO computes this right now: drop the corrected composition"


def assert_same(got, want):
    """Exact agreement; the first differing value is shown otherwise."""
    if same(got, want):
        return
    got, want = np.asarray(got), np.asarray(want)
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    where = np.argwhere(~((got == want) | ((got != got) & (want != want))))
    first = tuple(where[0])
    raise AssertionError(f"{len(where)} values differ, at {first}: {got[first]} for {want[first]}")


def uses_avx512():
    """Whether the plugin runs its AVX-512 kernels (ONEDNN_MAX_CPU_ISA can forbid them)."""
    program, _ = compiled(ops.exp, [np.ones(64, np.float32)], "dynamic")
    nodes = program.get_runtime_model().get_ordered_ops()
    return any("avx512" in node.get_rt_info()["primitiveType"].astype(str) for node in nodes)


def exit_code(body):
    """The exit code of a Python process that runs `body`; negative if a signal ended it."""
    script = "from tests.openvino_traps.harness import *\n" + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    return done.returncode


def int32_edges():
    """Powers of two and their neighbours, both signs, and the extremes."""
    values = {sign * (2**k + d) for k in range(31) for d in (-1, 0, 1) for sign in (1, -1)}
    return np.array(sorted(values | {-(2**31), 2**31 - 1, 7, 10, 123456789}), np.int32)


def int32_pairs(random=20000):
    """Every pair of edges, and random pairs of mixed magnitudes."""
    edges = int32_edges()
    left, right = (grid.ravel() for grid in np.meshgrid(edges, edges))
    rng = np.random.default_rng(0)
    some = rng.integers(-(2**31), 2**31, (2, random), dtype=np.int32) >> rng.integers(
        0, 31, (2, random), dtype=np.int32
    )
    return np.concatenate([left, some[0]]), np.concatenate([right, some[1]])
