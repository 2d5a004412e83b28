"""An OpenVINO IR from a file, compiled with the settings of the process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from kerasvino.runtime import config, devices, forking

__all__ = ["ExportedModel"]


class ExportedModel:
    """A model that `export` wrote, or any other IR. Several threads may call it.

    Args:
        path: of the `.xml` file.

    Attributes:
        inputs: names of the inputs.
        outputs: names of the outputs.
    """

    def __init__(self, path: str | os.PathLike[str]):
        settings = config.get()
        forking.check(settings.device)
        with forking.compiling():
            compiled = devices.core().compile_model(str(path), settings.device, settings.properties)
        self._compiled = forking.keep(compiled)
        self._generation = forking.generation()
        self.inputs = tuple(port.get_any_name() for port in self._compiled.inputs)
        self.outputs = tuple(port.get_any_name() for port in self._compiled.outputs)

    def predict(
        self, x: np.ndarray | Sequence[np.ndarray] | Mapping[str, np.ndarray]
    ) -> np.ndarray | dict[str, np.ndarray]:
        """The results for one array, or several in the order of the inputs or by their names.

        Several results are a dict by the names of the outputs.

        Raises:
            ForkError: this process was forked since the model was loaded.
        """
        forking.check_generation(self._generation)
        if isinstance(x, Mapping):
            arrays = [x[name] for name in self.inputs]
        else:
            arrays = list(x) if isinstance(x, (list, tuple)) else [x]
        found = forking.infer(self._compiled, arrays)
        results = {name: found[number].copy() for number, name in enumerate(self.outputs)}
        return results if len(results) > 1 else results[self.outputs[0]]
