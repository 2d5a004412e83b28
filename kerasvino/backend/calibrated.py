"""What a calibration found of a model (`graph.ranges`): kept, called and saved with it.

It is an attribute of the model. Assigning it makes the model's programs stale, as any attribute
does. A `.keras` file has it among its assets, so that other backends read the file as usual.

There it names layers by their places among those of the model, `#3/matmul`: layers that a class
makes have other names in each process, and a model may be renamed.
"""

from __future__ import annotations

import os

from kerasvino import files
from kerasvino.graph import current_trace
from kerasvino.graph.ranges import Ranges

__all__ = ["RANGES", "Calibrated", "keep_ranges", "note_ranges", "ranges_of"]

RANGES = "kerasvino_ranges"
FILE = "kerasvino_ranges.json"


def _path_of(layer) -> str:
    """What the names of a layer's operations begin with, once it has been called."""
    return f"{layer._parent_path}/{layer.name}" if layer._parent_path else layer.name


def ranges_of(model) -> Ranges | None:
    """What was found of a model; None if it was not calibrated."""
    found = model.__dict__.get(RANGES)
    if found is None:
        return None
    paths = [_path_of(layer) for layer in model._flatten_layers()]

    def named(name: str) -> str:
        place, _, rest = name.partition("/")
        if place[0] != "#" or int(place[1:]) >= len(paths):
            return name
        return f"{paths[int(place[1:])]}/{rest}".removesuffix("/")

    return found.renamed(named)


def keep_ranges(model, ranges: Ranges | None) -> None:
    """Has a model computed with these ranges from now on; None: exactly."""
    if ranges is None:
        if RANGES in model.__dict__:
            delattr(model, RANGES)
        return
    places: dict[str, int] = {}
    for place, layer in enumerate(model._flatten_layers()):
        places.setdefault(_path_of(layer), place)

    def placed(name: str) -> str:
        parts = name.split("/")
        for count in range(len(parts), 0, -1):
            place = places.get("/".join(parts[:count]))
            if place is not None:
                return "/".join([f"#{place}", *parts[count:]])
        return name

    setattr(model, RANGES, ranges.renamed(placed))


def note_ranges(model, arguments: dict) -> None:
    """Tells the graph that is being traced, if any, that a calibrated model was called in it."""
    trace = current_trace()
    if trace is not None and not arguments.get("training"):
        trace.calls(ranges_of(model))


class Calibrated:
    """Base of every model: how Keras saves it, and reads it again."""

    def save_assets(self, inner_path):
        found = self.__dict__.get(RANGES)
        if found is not None:
            files.fill(os.path.join(inner_path, FILE), [found.to_json().encode()])

    def load_assets(self, inner_path):
        path = os.path.join(inner_path, FILE) if inner_path else None
        if path is None or not os.path.exists(path):
            return
        with open(path, encoding="utf-8") as file:
            setattr(self, RANGES, Ranges.from_json(file.read()))
