"""`python -m kerasvino status`."""

from __future__ import annotations

import argparse

import kerasvino
from kerasvino import children
from kerasvino._version import __version__
from kerasvino.cli import autoload, installed, sites

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(arguments: argparse.Namespace) -> int:
    """Prints what is installed, enabled and selected, and OpenVINO's devices."""
    _line("kerasvino", f"{__version__} in {kerasvino.__path__[0]}")
    _line("keras", _keras())
    for package in ("openvino", "numpy"):
        _line(package, installed.version(package) or "not installed")
    files = sites.in_effect()
    _line("enabled", _enabled(files))
    _line("selected", _selected(bool(files)))
    _line("devices", "importing openvino to ask it ...")
    from kerasvino.runtime.devices import core, devices

    for name, device in zip(devices(), core().available_devices, strict=True):
        _line("", f"{name}  {core().get_property(device, 'FULL_DEVICE_NAME').strip()}")
    return 0


def _line(title: str, text: str) -> None:
    print(f"{title:<10} {text}", flush=True)


def _keras() -> str:
    """The version, with the package that holds it where this is not called keras."""
    found = installed.keras()
    parts = [v if name == "keras" else f"{v} ({name})" for name, v in found.items()]
    return " and ".join(parts) or "not installed"


def _enabled(files: list[str]) -> str:
    if not files:
        return "no; only where a program imports kerasvino or is run by `python -m kerasvino`"
    old = any(sites.read(path) != sites.content() for path in files)
    hint = " (written by another version: run enable again)" if old else ""
    return f"yes, by {', '.join(files)}{hint}"


def _selected(enabled: bool) -> str:
    backend, reason = autoload.selected()
    if backend == children.NAME and (enabled or children.is_prepared()):
        return f"{backend}, by {reason}: kerasvino"
    if backend == children.NAME:
        return f"{backend}, by {reason}: refused by Keras, unless kerasvino is imported first"
    if backend != "openvino":
        remedy = "set KERAS_BACKEND=openvino" if enabled else "import kerasvino before keras"
        if reason == "KERAS_BACKEND" and not enabled:
            remedy = "unset it and import kerasvino before keras"
        return f"{backend}, by {reason}; to run on kerasvino, {remedy}"
    other = f"{installed.other_backend()}, unless kerasvino is imported first"
    return f"openvino, by {reason}: {'kerasvino' if enabled else other}"
