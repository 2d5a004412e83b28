"""The Python array API standard (https://data-apis.org/array-api, 2024.12) for tensors.

`x.__array_namespace__()` is this module. Names, arguments and their order are the standard's; what
the functions compute is `keras.ops`'s, on concrete, recorded and traced tensors. Dtypes are Keras's
names: `xp.float32` is "float32". Where the standard leaves open how kinds of dtypes promote, Keras
decides, and its default integer is int32. Elements are not assigned to (`x[0] = 1`): tensors never
change.
"""
# ruff: noqa: I001

from math import e, inf, nan, pi

from kerasvino.backend.array_api import fft, linalg
from kerasvino.backend.array_api.creation import *
from kerasvino.backend.array_api.elementwise import *
from kerasvino.backend.array_api.elements import *
from kerasvino.backend.array_api.information import *
from kerasvino.backend.array_api.manipulation import *
from kerasvino.backend.array_api.statistics import *
from kerasvino.backend.array_api.types import *
from kerasvino.backend.array_api.linalg import matmul, matrix_transpose, tensordot, vecdot

__array_api_version__ = "2024.12"
newaxis = None


def namespace(api_version=None):
    """This module, if it follows version `api_version` of the standard (None: any)."""
    if api_version not in (None, "2021.12", "2022.12", "2023.12", __array_api_version__):
        raise ValueError(
            f"Version {api_version!r} of the array API standard is asked for; tensors follow "
            f"{__array_api_version__} and those before."
        )
    import sys

    return sys.modules[__name__]


def __getattr__(name):
    from keras import ops

    hint = f" There is keras.ops.{name}." if hasattr(ops, name) else ""
    raise AttributeError(
        f"The array API standard {__array_api_version__} has no {name!r}, or kerasvino does not "
        f"provide it.{hint}"
    )
