"""The processes that train one model together, and what they exchange.

Nothing here knows Keras, graphs or models: a `Group` adds arrays up over its processes. The
transport is gloo, of torch.distributed, the extra `[distributed]`.
"""

from kerasvino.distribution.group import Group, current, join, leave, when_joined
from kerasvino.distribution.launch import Place, place
from kerasvino.distribution.step import Step, current_step, stepping

__all__ = [
    "Group", "Place", "Step", "current", "current_step", "join", "leave", "place", "stepping",
    "when_joined",
]  # fmt: skip
