"""Keras's image contract, in files by subject."""

from kerasvino.backend.ops.image.color import hsv_to_rgb, rgb_to_grayscale, rgb_to_hsv
from kerasvino.backend.ops.image.filters import gaussian_blur, sobel_edges
from kerasvino.backend.ops.image.resizing import resize, scale_and_translate
from kerasvino.backend.ops.image.sampling import map_coordinates
from kerasvino.backend.ops.image.warps import (
    affine_transform,
    compute_homography_matrix,
    elastic_transform,
    perspective_transform,
)

__all__ = [
    "affine_transform", "compute_homography_matrix", "elastic_transform", "gaussian_blur",
    "hsv_to_rgb", "map_coordinates", "perspective_transform", "resize", "rgb_to_grayscale",
    "rgb_to_hsv", "scale_and_translate", "sobel_edges",
]  # fmt: skip
