"""`keras.distribution` on this backend: its devices, and what says that it does not distribute.

A mesh of one device is where everything runs anyway. Over several devices or processes nothing is
distributed, so what asks for it is refused: training on a part of the devices that were asked for
would go unnoticed.
"""

from __future__ import annotations

import sys

from kerasvino.backend.keras_private import PLUGGABLE, at, global_state
from kerasvino.runtime import devices

__all__ = [
    "check", "check_current", "distribute_tensor", "distribute_variable", "get_device_count",
    "initialize", "install", "list_devices",
]  # fmt: skip

_INSTEAD = (
    "kerasvino does not distribute over several devices or processes. Several requests at a time "
    'on one device are kerasvino.config.set(performance="throughput"); to train on several '
    "devices, use the jax or torch backend, and predict here with what model.save wrote."
)


def install() -> None:
    """Gives `keras.distribution` this module, in Keras 3.15, which knows of none for OpenVINO."""
    if not PLUGGABLE:
        at("keras.src.distribution.distribution_lib").distribution_lib = sys.modules[__name__]


def list_devices(device_type: str | None = None) -> list[str]:
    """The devices that OpenVINO finds, as `["cpu:0", "gpu:0"]`; those of one type if it is given.

    Raises:
        ValueError: there is no device of that type.
    """
    present = devices.devices()
    if device_type is None:
        return present
    kind = str(device_type).lower()
    found = [name for name in present if name.partition(":")[0] == kind]
    if not found:
        raise ValueError(
            f"No device of type {device_type!r} here. OpenVINO finds: {', '.join(present)}."
        )
    return found


def get_device_count(device_type: str | None = None) -> int:
    """How many devices there are, of one type if it is given."""
    kinds = [name.partition(":")[0] for name in devices.devices()]
    return len(kinds) if device_type is None else kinds.count(str(device_type).lower())


def initialize(job_addresses=None, num_processes=None, process_id=None) -> None:
    """Nothing for one process, as everything runs in it.

    Raises:
        NotImplementedError: several processes are asked for.
    """
    if job_addresses or (num_processes or 1) != 1 or process_id:
        raise NotImplementedError(_INSTEAD)


def check(distribution) -> None:
    """Refuses a distribution, or None, over devices that are not there, or over several.

    Raises:
        ValueError: it is over several devices, or over one that is not there. (Keras's Sequential
            swallows a NotImplementedError.)
    """
    mesh = getattr(distribution, "device_mesh", None)
    if mesh is not None:
        _check_mesh(mesh)


def check_current() -> None:
    """`check` of the distribution that is set, if any."""
    distribution = global_state.get_global_attribute("distribution")
    if distribution is not None:
        check(distribution)


def _check_mesh(mesh) -> None:
    names = [str(name) for name in mesh.devices.flat]
    for name in names:
        devices.resolve(name)
    if len(names) > 1:
        raise ValueError(f"A mesh of the devices {', '.join(names)}: {_INSTEAD}")


def distribute_tensor(tensor, layout):
    """The tensor itself, where the layout's mesh is of one device."""
    mesh = getattr(layout, "device_mesh", None)
    if mesh is not None:
        _check_mesh(mesh)
    return tensor


distribute_variable = distribute_tensor


def _to_backend_mesh(mesh):
    _check_mesh(mesh)
    return mesh


def _to_backend_layout(layout):
    distribute_tensor(None, layout)
    return layout
