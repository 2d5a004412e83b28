"""Inference on a Ray cluster: `Predictor` for Ray Data, `deployment` for Ray Serve.

Ray places, feeds and restarts processes; here is only what runs within them. Needs the extra
`[ray]`.
"""

from __future__ import annotations

from kerasvino.ray.data import Predictor, arguments
from kerasvino.ray.serving import deployment

__all__ = ["Predictor", "arguments", "deployment"]
