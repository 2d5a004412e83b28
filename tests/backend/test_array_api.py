"""The array API namespace: complete, computing what NumPy's does, traced and recorded as well."""

import inspect

import numpy as np
import pytest
from keras import ops

import kerasvino
from kerasvino import array_api as xp
from kerasvino.tensor import Tensor
from tests.backend.forms import FORMS, run

RNG = np.random.default_rng(0)
A = RNG.normal(size=(3, 4)).astype("float32")
B = RNG.normal(size=(3, 4)).astype("float32")
SQUARE = RNG.normal(size=(2, 3, 3)).astype("float32")
POSITIVE = SQUARE @ SQUARE.swapaxes(-1, -2) + np.eye(3, dtype="float32")
WHOLE = RNG.integers(1, 6, (3, 4)).astype("int32")

# https://data-apis.org/array-api/2024.12/API_specification/
_STANDARD = """
e inf nan newaxis pi
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128
arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril
triu zeros zeros_like
astype can_cast finfo iinfo isdtype result_type
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert
bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1
floor floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p
log2 log10 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply
negative nextafter not_equal positive pow real reciprocal remainder round sign signbit sin sinh
square sqrt subtract tan tanh trunc
take take_along_axis __array_namespace_info__ matmul matrix_transpose tensordot vecdot
broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll
squeeze stack tile unstack argmax argmin count_nonzero nonzero searchsorted where
unique_all unique_counts unique_inverse unique_values argsort sort
cumulative_prod cumulative_sum max mean min prod std sum var all any diff
linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv
linalg.matmul linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose
linalg.outer linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals
linalg.tensordot linalg.trace linalg.vecdot linalg.vector_norm
fft.fft fft.ifft fft.fftn fft.ifftn fft.rfft fft.irfft fft.rfftn fft.irfftn fft.hfft fft.ihfft
fft.fftfreq fft.rfftfreq fft.fftshift fft.ifftshift
"""
STANDARD = _STANDARD.split()


@pytest.mark.parametrize("name", STANDARD)
def test_every_name_of_the_standard_is_there(name):
    owner = xp
    for part in name.split("."):
        owner = getattr(owner, part)
    if callable(owner) and not isinstance(owner, type):
        assert owner.__name__ and inspect.signature(owner)


def test_signatures_are_the_standards():
    strict = pytest.importorskip("array_api_strict")
    wrong = []
    for name in STANDARD:
        ours, theirs = xp, strict
        for part in name.split("."):
            ours, theirs = getattr(ours, part), getattr(theirs, part, None)
        if not inspect.isfunction(theirs) or not callable(ours):
            continue
        taken = inspect.signature(ours).parameters
        if any(p.kind is p.VAR_POSITIONAL for p in taken.values()):
            continue
        order = [p.name for p in taken.values() if p.kind is not p.KEYWORD_ONLY]
        given = list(inspect.signature(theirs).parameters.values())
        positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        named = [p.name for p in given if p.kind is p.KEYWORD_ONLY]
        if len(order) < len(positional) or not set(named) <= set(taken):
            wrong.append((name, str(inspect.signature(ours)), str(inspect.signature(theirs))))
    assert not wrong


def test_a_tensor_leads_to_it():
    x = ops.ones((2,))
    assert x.__array_namespace__() is xp
    assert x.__array_namespace__(api_version="2022.12") is xp
    assert xp.__array_api_version__ == "2024.12"
    with pytest.raises(ValueError, match=r"2024\.12"):
        x.__array_namespace__(api_version="2031.01")
    assert not hasattr(xp, "no_such_function")
    with pytest.raises(AttributeError, match=r"keras\.ops\.softmax"):
        _ = xp.softmax


# Functions of arrays, with NumPy's namespace as the reference: (call, arrays).
CALLS = {
    "trigonometry": (lambda xp, x: xp.acos(xp.tanh(x)) + xp.atan2(x, 2.0) * xp.sinh(x), A),
    "logarithms": (lambda xp, x: xp.log1p(x * x) + xp.logaddexp(x, 0.5) + xp.log2(x * x + 1), A),
    "copysign": (lambda xp, x: xp.copysign(x, -1.5 * x), A),
    "whole floor": (lambda xp, x: xp.floor(x) + xp.ceil(x) + xp.trunc(x), WHOLE),
    "floor": (lambda xp, x: xp.floor(x) + xp.ceil(x) * xp.trunc(x), A),
    "remainder": (lambda xp, x: xp.remainder(x, 3) + xp.floor_divide(x, 2), WHOLE),
    "bits": (lambda xp, x: xp.bitwise_left_shift(x, 2) ^ xp.bitwise_invert(x), WHOLE),
    "clip": (lambda xp, x: xp.clip(x, -0.5, None), A),
    "pow": (lambda xp, x: xp.pow(xp.abs(x), 1.5), A),
    "nextafter": (lambda xp, x: xp.nextafter(x, xp.zeros_like(x)), A),
    "astype": (lambda xp, x: xp.astype(x, xp.int32), A),
    "concat": (lambda xp, x: xp.concat([x, x], axis=1), A),
    "concat flat": (lambda xp, x: xp.concat([x, x[0, :]], axis=None), A),
    "stack": (lambda xp, x: xp.stack([x, -x], axis=-1), A),
    "expand_dims": (lambda xp, x: xp.expand_dims(x, axis=1), A),
    "permute_dims": (lambda xp, x: xp.permute_dims(x, (1, 0)), A),
    "moveaxis": (lambda xp, x: xp.moveaxis(x, 0, -1), SQUARE),
    "roll": (lambda xp, x: xp.roll(x, (1, -2), axis=(0, 1)), A),
    "flip": (lambda xp, x: xp.flip(x), A),
    "repeat": (lambda xp, x: xp.repeat(x, 2, axis=1), A),
    "tile": (lambda xp, x: xp.tile(x, (2, 1, 2)), A),
    "unstack": (lambda xp, x: xp.unstack(x, axis=1)[2], A),
    "broadcast_to": (lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), A),
    "reshape": (lambda xp, x: xp.reshape(x, (-1, 2)), A),
    "take": (lambda xp, x: xp.take(x, xp.asarray([2, 0]), axis=1), A),
    "take_along_axis": (lambda xp, x: xp.take_along_axis(x, xp.argsort(x, axis=0), axis=0), A),
    "sort": (lambda xp, x: xp.sort(x, axis=0), A),
    "where": (lambda xp, x: xp.where(x > 0, x, 0.0), A),
    "argmax": (lambda xp, x: xp.argmax(x, axis=1, keepdims=True), A),
    "count_nonzero": (lambda xp, x: xp.count_nonzero(x > 0, axis=0, keepdims=True), A),
    "searchsorted": (lambda xp, x: xp.searchsorted(xp.sort(x[0, :]), x[1, :], side="right"), A),
    "unique_values": (lambda xp, x: xp.sort(xp.unique_values(x)), WHOLE),
    "unique_counts": (lambda xp, x: xp.unique_counts(x).counts, WHOLE),
    "unique_inverse": (lambda xp, x: xp.unique_inverse(x).inverse_indices, WHOLE),
    "unique_all": (lambda xp, x: xp.unique_all(x).indices, WHOLE),
    "sum": (lambda xp, x: xp.sum(x, axis=(0, 1), keepdims=True), A),
    "prod": (lambda xp, x: xp.prod(x, axis=0, dtype=xp.float32), WHOLE),
    "mean": (lambda xp, x: xp.mean(x, axis=-1), A),
    "std": (lambda xp, x: xp.std(x, axis=0, correction=1), A),
    "var": (lambda xp, x: xp.var(x, correction=0.5), A),
    "cumulative_sum": (lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True), A),
    "cumulative_prod": (lambda xp, x: xp.cumulative_prod(x, axis=0), A),
    "diff": (lambda xp, x: xp.diff(x, n=2, axis=0, prepend=xp.zeros((1, 4), dtype=xp.float32)), A),
    "all": (lambda xp, x: xp.all(x > -1, axis=0) | xp.any(x > 1), A),
    "matmul": (lambda xp, x: xp.matmul(x, xp.matrix_transpose(x)), A),
    "tensordot": (lambda xp, x: xp.tensordot(x, x, axes=((1,), (1,))), A),
    "vecdot": (lambda xp, x: xp.vecdot(x, x[0, :]), A),
    "vecdot axis": (lambda xp, x: xp.vecdot(x, x, axis=-2), A),
    "tril": (lambda xp, x: xp.tril(x, k=-1) + xp.triu(x, k=1), A),
    "meshgrid": (lambda xp, x: xp.meshgrid(x[0, :], x[:, 0], indexing="ij")[0], A),
    "cholesky": (lambda xp, x: xp.linalg.cholesky(x), POSITIVE),
    "cross": (lambda xp, x: xp.linalg.cross(x, x[:, ::-1, :]), SQUARE),
    "det": (lambda xp, x: xp.linalg.det(x), SQUARE),
    "diagonal": (lambda xp, x: xp.linalg.diagonal(x, offset=1), SQUARE),
    "eigvalsh": (lambda xp, x: xp.linalg.eigvalsh(x), POSITIVE),
    "inv": (lambda xp, x: xp.linalg.inv(x), POSITIVE),
    "matrix_norm": (lambda xp, x: xp.linalg.matrix_norm(x, ord=2, keepdims=True), SQUARE),
    "matrix_power": (lambda xp, x: xp.linalg.matrix_power(x, 5), SQUARE),
    "matrix_power 0": (lambda xp, x: xp.linalg.matrix_power(x, 0), SQUARE),
    "matrix_power -2": (lambda xp, x: xp.linalg.matrix_power(x, -2), POSITIVE),
    "matrix_rank": (lambda xp, x: xp.linalg.matrix_rank(x), SQUARE),
    "outer": (lambda xp, x: xp.linalg.outer(x[0, :], x[1, :]), A),
    "pinv": (lambda xp, x: xp.linalg.pinv(x), A),
    "pinv of each": (lambda xp, x: xp.linalg.pinv(x, rtol=xp.asarray([1e-4, 0.3])), POSITIVE),
    "rank of each": (
        lambda xp, x: xp.linalg.matrix_rank(x, rtol=xp.asarray([0.0, 2.0])), POSITIVE),
    "slogdet": (lambda xp, x: xp.linalg.slogdet(x).logabsdet, SQUARE),
    "solve": (lambda xp, x: xp.linalg.solve(x, x[0, :, 0]), POSITIVE),
    "solve matrices": (lambda xp, x: xp.linalg.solve(x, x[0, :, :]), POSITIVE),
    "svdvals": (lambda xp, x: xp.linalg.svdvals(x), SQUARE),
    "svd": (lambda xp, x: xp.linalg.svd(x, full_matrices=False).S, A),
    "trace": (lambda xp, x: xp.linalg.trace(x, offset=-1), SQUARE),
    "vector_norm": (lambda xp, x: xp.linalg.vector_norm(x), SQUARE),
    "vector_norm axes": (
        lambda xp, x: xp.linalg.vector_norm(x, axis=(0, 2), keepdims=True, ord=1), SQUARE),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CALLS)
def test_values(name, form):
    call, array = CALLS[name]
    if form == "dynamic" and name in ("unstack", "cross"):
        pytest.skip("needs a known length, as in keras.ops")
    found, wanted = run(form, lambda x: call(xp, x), array), np.asarray(call(np, array))
    assert found.shape == wanted.shape
    assert found.dtype.kind == wanted.dtype.kind
    np.testing.assert_allclose(found, wanted, rtol=3e-4, atol=1e-5)


def test_decompositions_compose():
    x = ops.convert_to_tensor(POSITIVE)
    q, r = xp.linalg.qr(x)
    np.testing.assert_allclose((q @ r).numpy(), POSITIVE, atol=1e-5)
    values, vectors = xp.linalg.eigh(x)
    composed = (vectors * xp.expand_dims(values, axis=-2)) @ vectors.mT
    np.testing.assert_allclose(composed.numpy(), POSITIVE, atol=1e-5)
    u, s, vh = xp.linalg.svd(x)
    np.testing.assert_allclose(((u * s[:, None, :]) @ vh).numpy(), POSITIVE, atol=1e-5)
    values, vectors = xp.linalg.eig(x)
    scaled = (vectors * values[:, None, :]).real
    np.testing.assert_allclose((x @ vectors.real).numpy(), scaled.numpy(), atol=1e-4)


def test_singular_values_of_complex_matrices_are_real():
    x = (A + 1j * B).astype("complex64")
    assert xp.linalg.svdvals(x).dtype == "float32"
    np.testing.assert_allclose(
        xp.linalg.svd(x).S.numpy(), np.linalg.svd(x, compute_uv=False), rtol=1e-5
    )


CREATED = {
    "arange": lambda xp: xp.arange(1, 7, 2),
    "arange float": lambda xp: xp.arange(0.0, 1.0, 0.25, dtype=xp.float32),
    "eye": lambda xp: xp.eye(2, 3, k=1, dtype=xp.float32),
    "full": lambda xp: xp.full((2,), True),
    "full integer": lambda xp: xp.full((2, 1), 3, dtype=xp.int8),
    "linspace": lambda xp: xp.linspace(0.0, 0.1, 3, dtype=xp.float64),
    "linspace open": lambda xp: xp.linspace(0, 5, 4, endpoint=False, dtype=xp.float32),
    "linspace of one": lambda xp: xp.linspace(0.0, 3.5e38, 1, dtype=xp.float64, endpoint=False),
    "linspace complex": lambda xp: xp.linspace(0j, 1 + 1j, 3, dtype=xp.complex64),
    "zeros": lambda xp: xp.zeros((), dtype=xp.uint16),
    "ones_like": lambda xp: xp.ones_like(xp.zeros((2, 2), dtype=xp.int64)),
    "full_like": lambda xp: xp.full_like(xp.zeros((2,), dtype=xp.float64), 0.1),
    "asarray": lambda xp: xp.asarray([[1, 2], [3, 4]], dtype=xp.int16),
    "fftfreq": lambda xp: xp.fft.fftfreq(5, d=0.5),
    "rfftfreq": lambda xp: xp.fft.rfftfreq(6),
}


@pytest.mark.parametrize("name", CREATED)
def test_creation(name):
    found, wanted = CREATED[name](xp), CREATED[name](np)
    assert found.shape == wanted.shape
    if name not in ("arange", "fftfreq", "rfftfreq"):  # of default dtypes, which are Keras's
        assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-6)


def test_devices_and_copies():
    x = xp.asarray([1.0, 2.0], device="cpu")
    assert xp.asarray(x, copy=False) is x
    assert xp.from_dlpack(np.ones(2, "float32")).dtype == "float32"
    assert xp.from_dlpack(x) is x
    for refused in (
        lambda: xp.zeros((2,), device="gpu"),
        lambda: xp.asarray([1.0], copy=False),
        lambda: xp.astype(x, xp.int32, device="gpu"),
    ):
        with pytest.raises(ValueError):
            refused()
    with pytest.raises(BufferError):
        xp.from_dlpack(np.ones(2), copy=False)


def test_dtypes():
    assert xp.isdtype(xp.float32, "real floating")
    assert xp.isdtype(xp.bfloat16, ("integral", "real floating"))
    assert xp.isdtype(xp.int8, xp.int8)
    assert xp.isdtype(np.dtype("int8"), "signed integer")
    assert not xp.isdtype(xp.bool, "numeric")
    with pytest.raises(ValueError, match="kind"):
        xp.isdtype(xp.bool, "number")
    assert xp.result_type(xp.int8, xp.uint8) == xp.int16
    assert xp.result_type(xp.ones((2,), dtype=xp.float64), 1.0) == xp.float64
    assert xp.result_type(xp.int64, xp.int32) == xp.int64
    with pytest.raises(ValueError, match="at least one"):
        xp.result_type(1, 2)
    assert xp.can_cast(xp.int8, xp.int32)
    assert not xp.can_cast(xp.float32, xp.int32)
    for name in ("float16", "float32", "float64"):
        ours, theirs = xp.finfo(name), np.finfo(name)
        assert (ours.bits, ours.eps, ours.max, ours.smallest_normal) == (
            theirs.bits, theirs.eps, theirs.max, theirs.smallest_normal
        )  # fmt: skip
    assert (xp.finfo(xp.bfloat16).bits, xp.finfo(xp.complex128).dtype) == (16, "float64")
    assert (xp.iinfo(xp.uint64).max, xp.iinfo(xp.int8).min) == (2**64 - 1, -128)
    with pytest.raises(ValueError, match="none"):
        xp.finfo(xp.int8)
    with pytest.raises(ValueError, match="none"):
        xp.iinfo(xp.float32)


def test_what_it_says_of_itself():
    info = xp.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert info.default_dtypes()["real floating"] == xp.ones((1,)).dtype
    assert info.default_dtypes()["integral"] == xp.asarray(1).dtype
    assert info.default_dtypes()["indexing"] == xp.argmax(xp.ones((2,))).dtype
    assert set(info.dtypes(kind="unsigned integer")) == {"uint8", "uint16", "uint32", "uint64"}
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        "bool",
        "complex64",
        "complex128",
    }
    assert len(info.dtypes()) == 13
    assert info.capabilities()["boolean indexing"]


COMPLEX = (A + 1j * B).astype("complex64")
FOURIER = {
    "fft": (lambda f, x: f.fft(x, n=6, axis=0, norm="ortho"), COMPLEX),
    "fft of reals": (lambda f, x: f.fft(x, n=3), A),
    "ifft": (lambda f, x: f.ifft(x, norm="forward"), COMPLEX),
    "fftn": (lambda f, x: f.fftn(x), COMPLEX),
    "fftn sizes": (lambda f, x: f.fftn(x, s=(5, 3), axes=(1, 0), norm="ortho"), COMPLEX),
    "ifftn": (lambda f, x: f.ifftn(x), COMPLEX),
    "rfft": (lambda f, x: f.rfft(x, axis=0), A),
    "rfft longer": (lambda f, x: f.rfft(x, n=7, norm="forward"), A),
    "irfft": (lambda f, x: f.irfft(x, axis=1), COMPLEX),
    "irfft odd": (lambda f, x: f.irfft(x, n=5, norm="ortho"), COMPLEX),
    "rfftn": (lambda f, x: f.rfftn(x), A),
    "irfftn": (lambda f, x: f.irfftn(x, s=(3, 7), axes=(0, 1)), COMPLEX),
    "hfft": (lambda f, x: f.hfft(x, n=7), COMPLEX),
    "hfft ortho": (lambda f, x: f.hfft(x, norm="ortho"), COMPLEX),
    "ihfft": (lambda f, x: f.ihfft(x, n=5, axis=0), A),
    "fftshift": (lambda f, x: f.fftshift(x), A),
    "ifftshift": (lambda f, x: f.ifftshift(x, axes=1), A),
}


@pytest.mark.parametrize("name", FOURIER)
def test_fourier_transforms(name):
    call, array = FOURIER[name]
    found, wanted = call(xp.fft, ops.convert_to_tensor(array)), call(np.fft, array)
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_fourier_transforms_in_double_precision_and_refused():
    x = A.astype("float64")
    np.testing.assert_allclose(xp.fft.rfft(x).numpy(), np.fft.rfft(x), rtol=1e-12)
    with pytest.raises(TypeError, match="complex"):
        xp.fft.rfft(COMPLEX)
    with pytest.raises(ValueError, match="norm"):
        xp.fft.fft(COMPLEX, norm="none")
    with pytest.raises(ValueError, match="place"):
        xp.fft.fft(COMPLEX, n=0)
    with pytest.raises(TypeError, match="complex"):
        kerasvino.jit(lambda x: xp.abs(xp.fft.fft(x)))(A)


def test_gradients():
    found = kerasvino.grad(lambda x: xp.sum(xp.linalg.vector_norm(x, axis=1)))(ops.array(A))
    np.testing.assert_allclose(
        found.numpy(), A / np.linalg.norm(A, axis=1, keepdims=True), rtol=1e-5
    )
    found = kerasvino.grad(lambda x: xp.sum(xp.abs(xp.fft.fft(x)) ** 2))(ops.array(A))
    np.testing.assert_allclose(found.numpy(), 2 * 4 * A, rtol=1e-4, atol=1e-5)


def test_libraries_of_the_standard():
    compat = pytest.importorskip("array_api_compat")
    x = ops.convert_to_tensor(A)
    assert compat.array_namespace(x, x) is xp
    assert compat.is_array_api_obj(x)
    assert (compat.device(x), compat.size(x)) == ("cpu", 12)
    einops = pytest.importorskip("einops.array_api")
    found = einops.reduce(x, "a (b c) -> b", "mean", b=2)
    assert isinstance(found, Tensor)
    np.testing.assert_allclose(found.numpy(), A.reshape(3, 2, 2).mean((0, 2)), rtol=1e-5)
