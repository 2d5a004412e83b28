"""The commands of `python -m kerasvino`, each a module of this folder, and what each does."""

from __future__ import annotations

__all__ = ["COMMANDS", "PROGRAM"]

PROGRAM = "python -m kerasvino"

COMMANDS = {
    "enable": "make KERAS_BACKEND=openvino (or keras.json) mean kerasvino in this environment",
    "disable": "undo enable",
    "export": "write a saved Keras model as OpenVINO IR, also for OpenVINO Model Server",
    "profile": "measure a saved Keras model layer by layer",
    "doctor": "look for what keeps Keras from running (well) on kerasvino here",
    "status": "versions, whether it is enabled, the backend that Keras would choose, devices",
}
