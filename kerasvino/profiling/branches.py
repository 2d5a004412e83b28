"""The layers of a profile as a tree, in the hierarchy of the Keras model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kerasvino.backend.keras_private import Functional
from kerasvino.profiling.attribution import Layer

__all__ = ["Branch", "hierarchy", "tree_of"]


@dataclass
class Branch:
    """A layer with what is in it.

    Attributes:
        name: of the layer, the last part of its path.
        layer: its own nodes; None where it has none.
        parts: the layers in it.
    """

    name: str
    layer: Layer | None = None
    parts: list[Branch] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """What it takes with all that is in it."""
        own = self.layer.seconds if self.layer else 0.0
        return own + sum(part.seconds for part in self.parts)


def hierarchy(model) -> dict[str, tuple[str, ...]]:
    """{path of a layer: names of the layers that it is in, from below the model to itself}.

    A layer's path does not name the functional models that it is in: their layers were called
    when there was no model yet.
    """
    found: dict[str, tuple[str, ...]] = {}

    def walk(parent, path: str | None, above: tuple[str, ...]) -> None:
        for layer in parent._flatten_layers(include_self=False, recursive=False):
            place = (*above, layer.name)
            # one that has nothing to build was never told its path
            own = layer.path or (f"{path}/{layer.name}" if path else layer.name)
            if own not in found:
                found[own] = place
                walk(layer, None if isinstance(layer, Functional) else own, place)

    walk(model, None if isinstance(model, Functional) else model.path or model.name, ())
    return found


def tree_of(name: str, layers: Iterable[Layer], places: Mapping[str, tuple[str, ...]]) -> Branch:
    """The tree of a model's layers.

    Args:
        name: of the model.
        layers: those with times; their order is that of the parts.
        places: see `hierarchy`.
    """
    root = Branch(name)
    for layer in layers:
        branch = root
        for part in () if layer.path == name else _place(layer.path, name, places):
            known = [one for one in branch.parts if one.name == part]
            if not known:
                known = [Branch(part)]
                branch.parts += known
            branch = known[0]
        branch.layer = layer
    return root


def _place(path: str, name: str, places: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        place = places.get("/".join(parts[:count]))
        if place is not None:
            return (*place, *parts[count:])
    return tuple(parts[1:] if parts[0] == name else parts)
