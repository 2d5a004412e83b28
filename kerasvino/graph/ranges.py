"""Where the values of a model are rounded to 8 bits, and in which ranges: what a calibration found.

`Ranges` name nodes as a trace does: with the path of a Keras layer, and whatever the length of the
batch is, `block/conv/convolution`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import xxhash

__all__ = ["Activation", "Channels", "Ranges", "Shift", "array"]

FORMAT = 1


@dataclass(frozen=True)
class Channels:
    """Constant weights that are rounded, with a scale for each of their channels.

    Attributes:
        node: name of the node that takes them.
        input: which of its inputs they are.
        axes: along which the scales differ; none for one scale of all.
    """

    node: str
    input: int
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Activation:
    """A value that is rounded to one of `levels` numbers between `low` and `high`.

    Attributes:
        users: (name of a node, index of its input) of those that take the rounded value.
        low: the least numbers, in the order of `shape`.
        high: the largest ones.
        shape: of the array of limits, which is broadcast to the value.
        levels: how many numbers.
    """

    users: tuple[tuple[str, int], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    shape: tuple[int, ...]
    levels: int = 256


@dataclass(frozen=True)
class Shift:
    """What is added to the result of a node, since rounding moves its mean.

    Attributes:
        node: its name.
        values: in the order of `shape`.
        shape: broadcast to the result.
    """

    node: str
    values: tuple[float, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ranges:
    """What is rounded in a model.

    Attributes:
        products: names of all nodes that multiply, rounded or not. A graph with others under the
            same layers is not that of the model alone.
        weights: constant weights.
        activations: other values.
        shifts: of results.
        rest: in which precision all the rest is computed where nothing else is set, "f32" or
            "bf16"; the latter where the device has kernels for it.
        layers: {path of a layer with products: "int8", or why it is not}.
        seconds: {kind of program: what a call took}, as measured when it was calibrated.
    """

    products: tuple[str, ...] = ()
    weights: tuple[Channels, ...] = ()
    activations: tuple[Activation, ...] = ()
    shifts: tuple[Shift, ...] = ()
    rest: str = "f32"
    layers: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def renamed(self, name: Callable[[str], str]) -> Ranges:
        """With other names of nodes and layers."""
        return replace(
            self,
            products=tuple(map(name, self.products)),
            weights=tuple(replace(w, node=name(w.node)) for w in self.weights),
            activations=tuple(
                replace(a, users=tuple((name(node), index) for node, index in a.users))
                for a in self.activations
            ),
            shifts=tuple(replace(s, node=name(s.node)) for s in self.shifts),
            layers={name(path): kind for path, kind in self.layers.items()},
        )

    def without(self, nodes: Iterable[str]) -> Ranges:
        """With all of some nodes left as it is."""
        gone = set(nodes)
        kept = (
            replace(a, users=tuple(user for user in a.users if user[0] not in gone))
            for a in self.activations
        )
        return replace(
            self,
            weights=tuple(w for w in self.weights if w.node not in gone),
            activations=tuple(a for a in kept if a.users),
            shifts=tuple(s for s in self.shifts if s.node not in gone),
        )

    @functools.cached_property
    def digest(self) -> str:
        """Of all that a program depends on."""
        parts = (self.products, self.weights, self.activations, self.shifts, self.rest)
        return xxhash.xxh3_128_hexdigest(repr(parts).encode())

    def __repr__(self) -> str:  # part of the name of a program in the cache
        return f"Ranges({self.digest})"

    # -- in files

    def to_json(self) -> str:
        """As the text of a file."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Ranges:
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else, or was written by a later version.
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise ValueError(f"format {found['format']} is unknown here; known: {FORMAT}")
            activations = [
                Activation(
                    tuple((node, index) for node, index in a["users"]),
                    *(tuple(a[name]) for name in ("low", "high", "shape")),
                    a["levels"],
                )
                for a in found["activations"]
            ]
            return cls(
                tuple(found["products"]),
                tuple(Channels(w["node"], w["input"], tuple(w["axes"])) for w in found["weights"]),
                tuple(activations),
                tuple(
                    Shift(s["node"], tuple(s["values"]), tuple(s["shape"])) for s in found["shifts"]
                ),
                found["rest"],
                dict(found["layers"]),
                dict(found["seconds"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no ranges of a quantized model: {error!r}") from error


def array(values: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The array of float32 that entries keep as `values` and `shape`."""
    return np.array(values, np.float32).reshape(shape)
