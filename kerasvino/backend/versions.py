"""What differs between the versions of Keras that the backend runs on.

Each name says which version has it. When a version is no longer supported, its line goes.
"""

from __future__ import annotations

from keras.src.backend import config

__all__ = ["BASE_TRAINER", "PLUGGABLE"]

# Keras 3.16 takes this backend from a package of its own, with the modules of the operations in
# `ops`, and reads `backend.rnn.lstm` where Keras 3.15 reads `backend.lstm`.
PLUGGABLE = hasattr(config, "PLUGGABLE_BACKENDS")

# The class in `keras.src.trainers.trainer` from which the backends derive theirs.
BASE_TRAINER = "BaseTrainer" if PLUGGABLE else "Trainer"
