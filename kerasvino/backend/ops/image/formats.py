"""What the image functions share: forms of images, the dtype they are computed in, arguments."""

from __future__ import annotations

from collections.abc import Callable, Collection

from kerasvino import dtypes
from kerasvino.backend.keras_private import standardize_data_format
from kerasvino.backend.ops.core.convert import convert_to_tensor, to_dtype
from kerasvino.primitives import elementwise
from kerasvino.primitives.arithmetic import absolute, add, multiply, sign, subtract
from kerasvino.primitives.compare import greater_equal
from kerasvino.primitives.shape import expand_dims, squeeze, transpose
from kerasvino.primitives.unbroadcast import constant_like
from kerasvino.tensor import Tensor

__all__ = [
    "batched", "check_choice", "computed", "fits", "floating", "images_of", "rounded",
    "spatial_axes",
]  # fmt: skip


def check_choice(name: str, value, accepted: Collection) -> None:
    """Raises ValueError for an argument that is none of the accepted values."""
    if value not in accepted:
        raise ValueError(
            f"Invalid value for argument `{name}`. Expected of one {tuple(accepted)}. "
            f"Received: {name}={value}"
        )


def fits(shape, wanted) -> bool:
    """Whether a shape, of which axes may be unknown (None), can be the one `wanted`."""
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(n in (m, None) for n, m in pairs)


def images_of(images, ranks=(3, 4)) -> Tensor:
    """One image or a batch of them as a tensor; ValueError for another rank."""
    images = convert_to_tensor(images)
    if images.ndim not in ranks:
        single = "rank 3 (single image) or " if 3 in ranks else ""
        raise ValueError(
            f"Invalid images rank: expected {single}rank 4 (batch of images). "
            f"Received input with shape: images.shape={images.shape}"
        )
    return images


def spatial_axes(images: Tensor, data_format) -> tuple[int, int, int]:
    """Axes of height, width and channels, counted from 0."""
    first = images.ndim - 3
    if standardize_data_format(data_format) == "channels_last":
        return first, first + 1, first + 2
    return first + 1, first + 2, first


def batched(images: Tensor, data_format) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """(images as (N, H, W, C), function that gives such a tensor the form of the images)."""
    single = images.ndim == 3
    first = standardize_data_format(data_format) == "channels_first"
    x = expand_dims(images, axis=(0,)) if single else images
    x = transpose(x, axes=(0, 2, 3, 1)) if first else x

    def restored(x):
        x = transpose(x, axes=(0, 3, 1, 2)) if first else x
        return squeeze(x, axis=(0,)) if single else x

    return x, restored


def computed(dtype: str) -> str:
    """The dtype in which images of `dtype` are computed."""
    return "float64" if dtype == "float64" else "float32"


def floating(x: Tensor) -> Tensor:
    """x in the dtype in which it is computed."""
    return to_dtype(x, computed(x.dtype))


def rounded(x: Tensor, dtype: str, ties="even") -> Tensor:
    """Floats as `dtype`; to integers rounded, ties to even or away from zero, and saturated."""
    if x.dtype == dtype:
        return x
    if dtypes.is_float(dtype):
        return to_dtype(x, dtype)
    if ties == "even":
        x = elementwise.rint(x)
    else:
        # not floor(|x| + 1/2), which takes the float below 1/2 to 1
        size = absolute(x)
        low = elementwise.floor(size)
        up = greater_equal(subtract(size, low), constant_like(0.5, x))
        x = multiply(sign(x), add(low, to_dtype(up, x.dtype)))
    return to_dtype(x, dtype)
