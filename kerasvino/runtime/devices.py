"""Devices: what OpenVINO sees here, and its names for them."""

from __future__ import annotations

import functools

import openvino

from kerasvino.runtime import forking

__all__ = ["core", "devices", "resolve"]

_VIRTUAL = ("AUTO", "HETERO", "MULTI", "BATCH")


@functools.cache
def core() -> openvino.Core:
    """The process's OpenVINO core."""
    return forking.keep(openvino.Core())


forking.on_new_process(core.cache_clear)


def devices() -> list[str]:
    """Names of the devices that OpenVINO finds, in Keras's spelling: `["cpu:0", "gpu:0", ...]`."""
    names = []
    for name in core().available_devices:
        kind, _, index = name.lower().partition(".")
        names.append(f"{kind}:{index or 0}")
    return names


def resolve(name: str) -> str:
    """The OpenVINO device string of a Keras device name.

    Args:
        name: `cpu`, `gpu:1`, `npu`, `auto`, or a virtual device over others: `hetero:gpu,cpu`,
            `multi:gpu:0,cpu`, `batch:gpu`, `auto:gpu,cpu`; OpenVINO's own spelling is taken too.

    Raises:
        ValueError: the device is malformed, or not present; the message lists those that are.
    """
    if not isinstance(name, str):
        raise ValueError(f"A device is named by a string like 'cpu' or 'gpu:1'; given: {name!r}.")
    kind, _, rest = name.strip().upper().partition(":")
    if kind in _VIRTUAL:
        if not rest:
            if kind == "AUTO":
                return kind
            raise ValueError(f"{name!r} names no devices; write e.g. '{kind.lower()}:gpu,cpu'.")
        members = [_physical(member, name) for member in rest.split(",")]
        return f"{kind}:{','.join(members)}"
    return _physical(name.strip().upper(), name)


def _physical(name: str, given: str) -> str:
    kind, separator, index = name.strip().partition(":")
    if not separator:
        kind, separator, index = name.strip().partition(".")
    present = devices()
    wanted = f"{kind.lower()}:{index or 0}"
    if wanted not in present or (separator and not index.isdigit()):
        raise ValueError(
            f"No device {given!r} here; OpenVINO finds {', '.join(present)}, and over these the "
            "virtual devices auto, hetero:LIST, multi:LIST and batch:LIST."
        )
    if f"{kind}.{index or 0}" in core().available_devices:
        return f"{kind}.{index or 0}"
    return kind
