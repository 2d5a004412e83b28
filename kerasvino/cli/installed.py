"""Which packages are installed: Keras by either name, and the other OpenVINO backends."""

from __future__ import annotations

from importlib import metadata

__all__ = ["keras", "other_backend", "version"]

OFFICIAL = "keras-openvino"


def version(package: str) -> str | None:
    """The version of an installed package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def keras() -> dict[str, str]:
    """The installed packages that hold Keras, with their versions.

    The nightly one has another name. Where both are installed, either may hold the files.
    """
    found = {name: version(name) for name in ("keras", "keras-nightly")}
    return {name: number for name, number in found.items() if number}


def other_backend() -> str:
    """What `KERAS_BACKEND=openvino` selects in the installed Keras without Kerasvino."""
    if any(number.startswith("3.15") for number in keras().values()):
        return "as bundled with Keras"
    found = version(OFFICIAL)
    return f"of the package {OFFICIAL}{f' {found}' if found else ', which is not installed'}"
