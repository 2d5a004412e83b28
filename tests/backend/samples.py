"""Arguments for every function of `keras.ops`: of each an example, of some several.

`call(*args, **kwargs)` is one: the arrays in it (in lists and tuples, too) are what a compiled
function gets traced, everything else is fixed. `known` marks the axes whose length has to be known
when it is traced.
"""

import keras
import numpy as np

_rng = np.random.default_rng(7)


def call(*args, **kwargs):
    return args, kwargs


class Known(np.ndarray):
    """An array of which `axes` keep their length where that of others is unknown."""

    axes = ()


def known(array, *axes):
    """`array` with these axes, by default all, of known length."""
    array = np.asarray(array).view(Known)
    array.axes = tuple(axis % array.ndim for axis in axes or range(array.ndim))
    return array


def normal(*shape):
    return _rng.normal(size=shape).astype("float32")


def uniform(*shape, low=0.0, high=1.0):
    return _rng.uniform(low, high, shape).astype("float32")


def integers(*shape, low=0, high=10):
    return _rng.integers(low, high, shape, "int32")


def booleans(*shape):
    return _rng.random(shape) < 0.5


def symmetric(n):
    x = normal(n, n).astype("float64")
    return (x @ x.T + n * np.eye(n)).astype("float32")


X, Y, UNIT, ABOVE = normal(3, 4), normal(3, 4), uniform(3, 4, low=-0.9, high=0.9), uniform(3, 4) + 1
WHOLE, OTHER = integers(3, 4, low=-9), integers(3, 4, low=1)
YES, NO = booleans(3, 4), booleans(3, 4)
ROW, IDS = normal(6), np.array([0, 2, 0, 1, 2, 2], "int32")
HOLES = np.where(booleans(3, 4), np.nan, X).astype("float32")
HOLES[:, 0] = 1.5
IMAGE = uniform(2, 6, 5, 3)
VOLUME = uniform(1, 4, 5, 6, 2)
PATCHES = uniform(2, 6, 6, 3)
SERIES = normal(2, 9, 3)
MATRIX, SPD = normal(2, 3, 3) + 3 * np.eye(3, dtype="float32"), symmetric(3)
LOGITS, ONE_HOT = normal(4, 3), np.eye(3, dtype="float32")[[0, 2, 1, 0]]
HEADS = [known(normal(2, n, 2, 4), 2, 3) for n in (5, 6, 6)]
SCALARS = np.float32(2.0), np.float32(5.0)


def _each(names, *args, **kwargs):
    return {name: [call(*args, **kwargs)] for name in names.split()}


SAMPLES = {
    # -- of each element
    **_each(
        """fabs abs absolute arctan arcsinh cbrt ceil celu cos cosh deg2rad elu erf erfc exp
        exp2 expm1 floor gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh i0 leaky_relu
        log_sigmoid negative rad2deg real relu relu6 round selu sigmoid sign silu sin sinc sinh
        soft_shrink softplus softsign sparse_plus sparse_sigmoid square squareplus swish tan tanh
        tanh_shrink trunc conj conjugate imag angle isreal copy stop_gradient empty_like
        ones_like zeros_like signbit isfinite isinf isnan isneginf isposinf nan_to_num""",
        X,
    ),
    **_each("arccos arcsin arctanh erfinv", UNIT),
    **_each("arccosh log log10 log1p log2 reciprocal rsqrt sqrt", ABOVE),
    **_each("bitwise_invert bitwise_not", WHOLE),
    "threshold": [call(X, 0.5, -1.0)],
    "logical_not": [call(YES), call(WHOLE)],
    "clip": [call(X, -0.5, 0.5)],
    "glu": [call(X, axis=-1)],
    "cast": [call(X, "int32"), call(WHOLE, "float16"), call(X, "bool")],
    "saturate_cast": [call(X * 1e4, "uint8")],
    "full_like": [call(X, 3), call(WHOLE, 3, dtype="float32")],
    # -- of each pair of elements
    **_each(
        """add arctan2 divide equal fmax fmin greater greater_equal hypot less less_equal logaddexp
        logaddexp2 maximum minimum multiply nextafter not_equal subtract true_divide heaviside
        divide_no_nan isclose allclose""",
        X,
        Y,
    ),
    **_each("floor_divide mod fmod", X, OTHER),
    **_each("gcd lcm bitwise_and bitwise_or bitwise_xor", WHOLE, OTHER),
    **_each("bitwise_left_shift left_shift bitwise_right_shift right_shift", OTHER, OTHER % 5),
    **_each("logical_and logical_or logical_xor", YES, NO),
    "power": [call(ABOVE, X), call(OTHER, OTHER % 3)],
    "ldexp": [call(X, WHOLE)],
    "where": [call(YES, X, Y), call(YES)],
    "select": [call([YES, NO], [X, Y], 0.5)],
    # -- reductions
    **_each("all any count_nonzero", YES, axis=1),
    **_each(
        """amax amin argmax argmin max mean median min prod ptp std sum var logsumexp norm
        nansum nanprod""",
        X,
        axis=1,
    ),
    **_each("nanargmax nanargmin nanmax nanmean nanmedian nanmin nanstd nanvar", HOLES, axis=0),
    **_each("percentile nanpercentile", X, 30.0, axis=1),
    **_each("quantile nanquantile", X, np.array([0.25, 0.5], "float32"), axis=0),
    "average": [call(X, axis=1), call(X, axis=1, weights=ABOVE)],
    "moments": [call(X, [0])],
    "trace": [call(X)],
    "trapezoid": [call(X, axis=0), call(X, x=np.arange(4, dtype="float32"))],
    **_each("cumprod cumsum nancumprod nancumsum", X, axis=1),
    "diff": [call(X), call(X, n=2, axis=0)],
    "ndim": [call(X)],
    "size": [call(X)],
    "shape": [call(X)],
    "is_tensor": [call(X)],
    # -- shapes
    **_each("flip ravel transpose squeeze", X),
    **_each("fliplr flipud rot90", X),
    "expand_dims": [call(X, 1), call(X, (0, -1))],
    "moveaxis": [call(SERIES, 0, -1)],
    "swapaxes": [call(SERIES, 0, 2)],
    "reshape": [call(X, (2, -1))],
    "rearrange": [call(SERIES, "b t c -> b (t c)")],
    "repeat": [call(X, 2, axis=1), call(X, np.array([1, 0, 2], "int32"), axis=0)],
    "tile": [call(X, (2, 1))],
    "roll": [call(X, 1, axis=1), call(X, 5)],
    "broadcast_to": [call(ROW, (2, 6))],
    "pad": [call(X, ((1, 1), (2, 0))), call(X, 1, "reflect"), call(X, 1, "symmetric")],
    **_each("concatenate append", [X, Y], axis=1),
    "append": [call(X, Y, axis=0)],
    "stack": [call([X, Y], axis=1)],
    **_each("hstack vstack dstack", [X, Y]),
    "split": [call(X, 2, axis=1), call(X, [1, 3], axis=1)],
    "array_split": [call(ROW, 4)],
    "hsplit": [call(X, 2)],
    "vsplit": [call(X, [1])],
    "dsplit": [call(SERIES, [1])],
    "unstack": [call(X, 3, 0)],
    "meshgrid": [call(ROW, np.arange(3, dtype="float32"))],
    "diag": [call(ROW), call(X, 1)],
    "diagflat": [call(ROW)],
    "diagonal": [call(X), call(SERIES, 1, 0, 2)],
    **_each("tril triu", X, 1),
    "vander": [call(ROW), call(ROW, 3, increasing=True)],
    "space_to_depth": [call(PATCHES, 2)],
    "depth_to_space": [call(uniform(2, 3, 3, 8), 2)],
    "unfold": [call(uniform(2, 3, 6, 6), 2)],
    "fold": [call(known(uniform(1, 8, 9), 1), (6, 6), 2, stride=2)],
    # -- made
    "arange": [call(2, 11, 3), call(5.0)],
    "array": [call(X)],
    "convert_to_tensor": [call(X)],
    **_each("empty ones zeros", (2, 3)),
    **_each("bartlett blackman hamming hanning", 5),
    "kaiser": [call(5, 2.0)],
    "full": [call((2, 3), SCALARS[0])],
    "eye": [call(3, 4, 1)],
    "identity": [call(3)],
    "tri": [call(3, 4, -1)],
    "linspace": [call(*SCALARS, 7), call(X, Y, 4, axis=1)],
    "logspace": [call(*SCALARS, 4)],
    "geomspace": [call(*SCALARS, 4)],
    "one_hot": [call(IDS, 3)],
    "multi_hot": [call(IDS, 3)],
    # -- indices
    "get_item": [call(X, (slice(None), 1))],
    "take": [call(X, IDS, axis=0), call(X, IDS)],
    "take_along_axis": [call(X, OTHER % 4, axis=1)],
    "slice": [call(X, (1, 0), (2, 3))],
    "slice_update": [call(X, (1, 0), np.ones((2, 2), "float32"))],
    "scatter": [call(known(IDS[:3, None], 1), ROW[:3], (4,))],
    "scatter_update": [
        call(X, known(np.array([[0, 1], [2, 2]], "int32"), 1), np.ones(2, "float32"))
    ],
    "argsort": [call(X), call(WHOLE, axis=0)],
    "sort": [call(X), call(WHOLE, axis=0)],
    "argpartition": [call(X, 1)],
    "top_k": [call(X, 2)],
    "in_top_k": [call(np.array([2, 0, 1, 1], "int32"), LOGITS, 2)],
    "nonzero": [call(YES)],
    "unique": [call(IDS), call(X)],
    "isin": [call(WHOLE, OTHER)],
    "searchsorted": [call(np.sort(ROW), X[0])],
    "digitize": [call(X, np.array([-1.0, 0.0, 1.0], "float32"))],
    "bincount": [call(IDS), call(IDS, weights=ROW, minlength=5)],
    "histogram": [call(ROW, bins=4), call(ROW, bins=4, range=(-1.0, 1.0))],
    "unravel_index": [call(IDS, (2, 3))],
    "segment_sum": [call(ROW, IDS, 4), call(ROW, IDS)],
    **_each("segment_max segment_min segment_prod", ROW, IDS, 4),
    # -- products
    **_each("matmul dot", X, normal(4, 2)),
    "tensordot": [call(SERIES, normal(3, 2), 1), call(X, Y, [[0, 1], [0, 1]])],
    "einsum": [call("btc,cd->btd", SERIES, normal(3, 2)), call("ij,ij->j", X, Y)],
    "inner": [call(X, Y)],
    "outer": [call(ROW, ROW)],
    "kron": [call(X, Y)],
    "vdot": [call(X, Y)],
    "cross": [call(known(LOGITS, 1), known(LOGITS[::-1].copy(), 1))],
    "correlate": [call(known(ROW), known(ROW[:3]), mode) for mode in ("same", "full", "valid")],
    "corrcoef": [call(X)],
    "cdist": [call(X, Y)],
    # -- linear algebra
    **_each("cholesky inv det slogdet svd eigh qr logdet", SPD),
    "cholesky_inverse": [call(np.linalg.cholesky(SPD).astype("float32"))],
    "lu_factor": [call(MATRIX)],
    "solve": [call(MATRIX, normal(2, 3, 2))],
    "solve_triangular": [call(np.tril(SPD), normal(3, 2), lower=True)],
    "lstsq": [call(normal(5, 3), normal(5, 2))],
    "pinv": [call(normal(4, 3))],
    "matrix_rank": [call(SPD)],
    "jvp": [call(lambda x: x * x, [X], [Y])],
    # -- signals
    **_each("fft fft2 ifft2", (X, Y)),
    "rfft": [call(X), call(X, 6)],
    "irfft": [call((X, Y))],
    "stft": [call(normal(2, 24), 4, 2, 6)],
    "istft": [call((normal(2, 5, 4), normal(2, 5, 4)), 4, 2, 6)],
    "extract_sequences": [call(normal(2, 9), 4, 2)],
    # -- networks
    **_each("softmax log_softmax sparsemax", LOGITS),
    "normalize": [call(X)],
    "layer_normalization": [call(known(X, 1), known(ABOVE[0]), known(Y[0]))],
    "rms_normalization": [call(X, ABOVE[0])],
    "batch_normalization": [call(X, Y[0], ABOVE[0], 1)],
    "binary_crossentropy": [call(uniform(3, 4), uniform(3, 4))],
    "categorical_crossentropy": [call(ONE_HOT, LOGITS, from_logits=True)],
    "sparse_categorical_crossentropy": [
        call(np.array([0, 2, 1, 0], "int32"), LOGITS, from_logits=True)
    ],
    "ctc_loss": [
        call(
            np.array([[1, 2, 0], [2, 1, 2]], "int32"), known(normal(2, 7, 4), 2),
            np.array([2, 3], "int32"), np.array([7, 6], "int32"),
        )
    ],
    "ctc_decode": [call(known(normal(2, 7, 4), 2), np.array([7, 6], "int32"))],
    "conv": [
        call(SERIES, known(normal(3, 3, 4)), padding="same"),
        call(IMAGE, known(normal(2, 2, 3, 4))),
    ],
    "conv_transpose": [call(IMAGE, known(normal(3, 3, 4, 3)), 2)],
    "depthwise_conv": [call(IMAGE, known(normal(2, 2, 3, 2)))],
    "separable_conv": [call(IMAGE, known(normal(2, 2, 3, 2)), known(normal(1, 1, 6, 4)))],
    "max_pool": [call(IMAGE, 2), call(SERIES, 3, 2, padding="same")],
    "average_pool": [call(IMAGE, 2), call(SERIES, 3, 2, padding="same")],
    "adaptive_average_pool": [call(PATCHES, (2, 3))],
    "adaptive_max_pool": [call(PATCHES, (2, 3))],
    "dot_product_attention": [call(*HEADS), call(HEADS[1], *HEADS[1:], is_causal=True)],
    "psnr": [call(uniform(3, 4), uniform(3, 4), 1.0)],
    # -- control flow, functions
    "cond": [call(np.bool_(True), lambda: 1, lambda: 2)],
    "switch": [call(np.int32(1), [lambda x: x, lambda x: x * 2], X)],
    "while_loop": [call(lambda i: i < 5, lambda i: i + 2, np.int32(0))],
    "fori_loop": [call(0, 4, lambda i, x: x * 1.5, X)],
    "scan": [call(lambda c, x: (c + x, c * x), np.zeros(4, "float32"), X)],
    "map": [call(lambda x: x * 2, X)],
    "vectorized_map": [call(lambda x: x * 2, X)],
    "associative_scan": [call(lambda a, b: a + b, known(X, 0))],
    # -- images
    "image.affine_transform": [
        call(IMAGE, np.array([1.1, 0.1, -0.5, 0.2, 0.9, 0.3, 0.0, 0.0], "float32"))
    ],
    "image.crop_images": [call(IMAGE, 1, 1, target_height=3, target_width=2)],
    "image.elastic_transform": [call(IMAGE, 5.0, 2.0, seed=1)],
    "image.extract_patches": [
        call(known(PATCHES, 3), 2),
        call(known(PATCHES, 3), (2, 3), 1, 2, "same"),
    ],
    "image.extract_patches_3d": [call(known(VOLUME, 4), 2)],
    "image.gaussian_blur": [call(IMAGE, (3, 5), (1.0, 2.0))],
    "image.hsv_to_rgb": [call(IMAGE)],
    "image.map_coordinates": [call(X, uniform(2, 5, 2, high=3), 1)],
    "image.pad_images": [
        call(known(IMAGE, 1, 2), 1, 2, target_height=10, target_width=9),
        call(IMAGE, 1, 2, 3, 0),
    ],
    "image.perspective_transform": [
        call(
            IMAGE, np.array([[0, 0], [0, 4], [5, 0], [5, 4]] * 2, "float32").reshape(2, 4, 2),
            np.array([[0, 1], [1, 4], [5, 0], [4, 3]] * 2, "float32").reshape(2, 4, 2),
        )
    ],
    "image.resize": [
        *(
            call(IMAGE, (4, 7), method, antialias)
            for method in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
            for antialias in (False, True)
        ),
        call(IMAGE, (4, 4), crop_to_aspect_ratio=True),
        call(IMAGE, (4, 4), pad_to_aspect_ratio=True),
    ],
    "image.rgb_to_grayscale": [call(IMAGE)],
    "image.rgb_to_hsv": [call(IMAGE)],
    "image.scale_and_translate": [
        call(
            IMAGE, (2, 7, 8, 3), np.array([1.2, 0.9], "float32"), np.array([0.5, -1], "float32"),
            (1, 2), "linear",
        )
    ],
    "image.sobel_edges": [call(IMAGE)],
    "image.ssim": [call(uniform(1, 12, 12, 3), uniform(1, 12, 12, 3), 1.0)],
}  # fmt: skip

# Functions that are new in Keras 3.16.
_NEWER = {
    "column_stack": [call([X, Y]), call([ROW, ROW])],
    "copysign": [call(X, Y)],
    "cov": [call(X), call(known(X[:1], 0)), call(ROW)],
    "float_power": [call(ABOVE, X), call(OTHER, -OTHER % 3)],
    "gammainc": [call(ABOVE, ABOVE[::-1])],
    "grad": [],  # of functions
    "image.reconstruct_patches": [call(known(uniform(2, 3, 3, 12), 1, 2, 3), 2, (6, 6))],
    "lgamma": [call(ABOVE), call(UNIT)],
    "matrix_power": [call(MATRIX, 3), call(MATRIX, 0), call(MATRIX, -2), call(OTHER[:, :3], 2)],
}
if hasattr(keras.ops, "grad"):
    SAMPLES |= _NEWER

# No form in a graph: examples, and what the error says.
EAGER_ONLY = {
    "convert_to_numpy": (call(X), "NumPy value of a traced tensor"),
    "eig": (call(SPD), "no form in a compiled OpenVINO graph"),
    "polar": (call(ABOVE, X), "complex"),
    "view": (call(X, "int32"), "no form in a compiled OpenVINO graph"),
    "view_as_complex": (call(normal(3, 2)), "complex"),
    "view_as_real": (call(X.astype("complex64")), "complex"),
}
# Vectors that may as well be their negatives.
FREE_SIGNS = {"eigh", "svd"}
# No arrays to arrays.
OTHERS = {"custom_gradient", "dtype", "vectorize"}
