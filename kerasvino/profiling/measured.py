"""What a model was measured to do: the data that the table and the page of a profile show."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from kerasvino.graph import Spec
from kerasvino.profiling.attribution import PHASES, Layer, Placed, layers_of
from kerasvino.profiling.generation import Generation
from kerasvino.runtime.profile import Measurement

__all__ = ["Measured"]


@dataclass(frozen=True)
class Measured:
    """A model's times, by layer.

    Attributes:
        model: its name.
        inputs: shape, dtype and name of each.
        measurement: times of runs and of the nodes that the plugin runs.
        nodes: these nodes, with the layer that each belongs to.
        places: for each path of a layer the names of the layers that it is in, and its own.
        weights: {path of a layer: bytes of its own variables}.
        generation: how a task generates; None of other profiles.
    """

    model: str
    inputs: tuple[Spec, ...]
    measurement: Measurement
    nodes: tuple[Placed, ...]
    places: dict[str, tuple[str, ...]]
    weights: dict[str, int]
    generation: Generation | None = None

    @property
    def layers(self) -> list[Layer]:
        """The layers that took time, the one that took most first."""
        return sorted(layers_of(self.nodes), key=lambda layer: -layer.seconds)

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of forward, backward and update; of an inference forward alone."""
        executed = [placed for placed in self.nodes if placed.node.executed]
        return {
            phase: sum(placed.node.seconds for placed in executed if placed.phase == phase)
            for phase in PHASES
            if any(placed.phase == phase for placed in executed)
        }

    @property
    def seconds(self) -> float:
        """What one run takes, the median."""
        return statistics.median(self.measurement.run_seconds)

    @property
    def node_seconds(self) -> float:
        """What the nodes take together in a run, on average."""
        return sum(placed.node.seconds for placed in self.nodes)
