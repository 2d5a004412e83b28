"""Settings of compiled programs: of the process, of the environment, of a `with` block.

A setting comes from the innermost `using(...)` of the thread, else from `set(...)`, else from the
environment variable `KERASVINO_<NAME>`, else it has its default. Programs are kept apart by their
settings, so that changing one never disturbs what is compiled.
"""

from __future__ import annotations

import functools
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from kerasvino.graph.calls import observe
from kerasvino.runtime import devices

__all__ = [
    "Settings", "check_environment", "eager_compiled", "get", "known", "refused", "set", "unknown",
    "using",
]  # fmt: skip

PRECISIONS = ("f32", "bf16", "f16", "auto")
KEPT_PRECISIONS = ("f32", "bf16", "f16", "u8", "auto")
PERFORMANCE = ("auto", "latency", "throughput")
WEIGHTS = ("int8", "int4")
ACTIVATIONS = ("exact", "dynamic")
# By `activations`: of how many in a row the CPU plugin takes the largest, to round them to 8 bits
# by it, in products by weights of 4 and 8 bits; "0": it does not round them.
GROUPS = {"exact": "0", "dynamic": "64"}
# How many combinations of node and shape the CPU plugin keeps prepared in a program; its own choice
# is 5,000. A transformer block that was called with 1,192 shapes grew by 312 MiB with that, by 175
# with 1,000, 148 with 500, 129 with 250, 117 with 100. Called again with 440 shapes, it took 1.00
# times as long with 1,000 as with 5,000, 1.29 times with 250.
PREPARED_SHAPES = 1000


@dataclass(frozen=True)
class Settings:
    """How programs are compiled.

    Attributes:
        device: OpenVINO device string, e.g. "CPU", "GPU.1", "HETERO:GPU,CPU".
        precision: in which floats are computed: "f32", "bf16", "f16", or "auto", the plugin's own
            choice; None for f32 on the CPU and "auto" elsewhere.
        performance: "latency" (one batch at a time, as fast as possible), "throughput" (several in
            parallel), or "auto".
        threads: of the CPU plugin; None for as many as it thinks fit.
        cache_dir: folder in which compiled programs are kept for other processes, or None.
        cache_size: bytes that the folder may hold; what was used least recently makes room. None
            for any number.
        check_numerics: whether the first NaN or infinity raises NumericsError.
        kv_cache_precision: in which keys and values are kept while text is generated: "f32",
            "bf16", "f16", "u8", or "auto", the plugin's own choice, which is u8; None for
            `precision`.
        weights: what the constant weights of products are rounded to when a model is compiled:
            "int8" or "int4"; None: nothing. Not in `fit`.
        activations: what is multiplied by weights of 4 and 8 bits: "exact", or "dynamic", rounded
            to 8 bits where the device is faster so.
        collective_timeout: seconds after which a process of a distributed training that waits for
            the others gives up.
    """

    device: str = "CPU"
    precision: str | None = None
    performance: str = "auto"
    threads: int | None = None
    cache_dir: str | None = None
    cache_size: int | None = 10 * 2**30
    check_numerics: bool = False
    kv_cache_precision: str | None = None
    weights: str | None = None
    activations: str = "exact"
    collective_timeout: float = 45.0

    @functools.cached_property
    def properties(self) -> dict[str, str]:
        """The OpenVINO properties that a model is compiled with."""
        hint = "LATENCY" if self.performance == "auto" else self.performance.upper()
        found = {"PERFORMANCE_HINT": hint}
        precision = self.precision or ("f32" if self.on_cpu else "auto")
        if precision != "auto":
            found["INFERENCE_PRECISION_HINT"] = precision
        if self.device == "CPU":
            found["CPU_RUNTIME_CACHE_CAPACITY"] = str(PREPARED_SHAPES)
            found["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = GROUPS[self.activations]
        if self.threads is not None:
            found["INFERENCE_NUM_THREADS"] = str(self.threads)
            if self.device == "CPU" and self.threads < (os.cpu_count() or 1):
                # The plugin would bind them to the first cores, in each process of a machine.
                found["ENABLE_CPU_PINNING"] = "NO"
        return found

    @functools.cached_property
    def of_state(self) -> dict[str, str]:
        """Further properties of a model that keeps keys and values."""
        kept = self.kv_cache_precision or self.precision or "f32"
        return {} if kept == "auto" or self.device != "CPU" else {"KV_CACHE_PRECISION": kept}

    @functools.cached_property
    def key(self) -> tuple:
        """What tells the programs of these settings from those of others."""
        properties = tuple(sorted(self.properties.items()))
        return self.device, properties, self.cache_dir, self.check_numerics, self.weights

    @functools.cached_property
    def on_cpu(self) -> bool:
        """Whether the device is the CPU, or a virtual one over the CPU alone."""
        kind, _, members = self.device.partition(":")
        names = members.split(",") if members else [kind]
        if names == ["AUTO"]:  # chooses among all
            names = devices.core().available_devices
        return all(name.partition("(")[0].partition(".")[0] == "CPU" for name in names)

    @functools.cached_property
    def may_run_inline(self) -> bool:
        """Whether a program may run on one thread, the caller's, if that is faster."""
        return self.device == "CPU" and self.threads is None and self.performance != "throughput"

    @functools.cached_property
    def for_many_runs(self) -> Settings | None:
        """The settings for many runs in a row, if they may be others than for one."""
        if self.device != "CPU" or self.threads is not None or self.performance != "auto":
            return None
        return replace(self, performance="throughput")

    @functools.cached_property
    def static_only(self) -> bool:
        """Whether the device takes no dynamic shapes."""
        return "NPU" in self.device


# -- one setting


def _choice(accepted: tuple[str, ...]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        found = str(value).strip().lower()
        if found not in accepted:
            raise ValueError(f"accepted: {', '.join(accepted)}.")
        return found

    return parse


def _count(value: Any) -> int:
    try:
        found = int(value)
    except (TypeError, ValueError):
        found = 0
    if found < 1 or isinstance(value, (bool, float)):
        raise ValueError("accepted: a whole number of threads, 1 or more.")
    return found


def _seconds(value: Any) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = 0.0
    if not 1 <= found <= 86400 or isinstance(value, bool):
        raise ValueError("accepted: a number of seconds, from 1 to 86400.")
    return found


def _switch(value: Any) -> bool:
    found = str(value).strip().lower()
    if found not in _SWITCHES:
        raise ValueError("accepted: True, False; in the environment 1 or 0.")
    return _SWITCHES[found]


_SWITCHES = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}


def _folder(value: Any) -> str | None:
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError("accepted: the path of a folder, a string or a pathlib.Path.")
    path = os.fsdecode(value)
    if not path.strip():
        return None
    if "\0" in path:
        raise ValueError("accepted: the path of a folder; this one has a NUL character.")
    found = os.path.expanduser(path)
    if found.startswith("~"):
        raise ValueError("the home folder is not known here; give the whole path.")
    return os.path.abspath(found)


_UNITS = {"": 1, "b": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("kmgt", 1)
    for base, ends in ((1000, ("", "b")), (1024, ("i", "ib")))
    for end in ends
}


def _bytes(value: Any) -> int | None:
    text = str(value).strip().lower()
    if text == "none":
        return None
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) *([a-z]*)", text)
    size = 0.0
    if found and isinstance(value, (int, str)) and not isinstance(value, bool):
        size = float(found[1]) * _UNITS.get(found[2], 0)
    if size < 1:
        raise ValueError(
            "accepted: a number of bytes, as in 2000000000, '2GB' or '1.5GiB'; None for any number."
        )
    return int(size)


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "device": devices.resolve,
    "precision": _choice(PRECISIONS),
    "performance": _choice(PERFORMANCE),
    "threads": _count,
    "cache_dir": _folder,
    "cache_size": _bytes,
    "check_numerics": _switch,
    "kv_cache_precision": _choice(KEPT_PRECISIONS),
    "weights": _choice(WEIGHTS),
    "activations": _choice(ACTIVATIONS),
    "collective_timeout": _seconds,
}
_MAY_BE_NONE = ("precision", "threads", "cache_dir", "cache_size", "kv_cache_precision", "weights")


# By environment variable: how its value is read. The last is no setting: it is of the process.
_VARIABLES = {f"KERASVINO_{name.upper()}": parse for name, parse in _PARSERS.items()} | {
    "KERASVINO_EAGER": _choice(("host", "compiled"))
}
# Of Keras's own tests, and of `kerasvino.children`.
_OTHERS = ("KERASVINO_CONFORMANCE", "KERASVINO_OVERRULE")


def _value(source: str, parse: Callable[[Any], Any], value: Any) -> Any:
    """A value as it is kept; `source`, a setting or a variable, is named if it is refused."""
    try:
        return parse(value)
    except ValueError as error:
        mark = ";" if str(error).startswith("accepted") else ":"
        raise ValueError(f"{source}={value!r}{mark} {error}") from None


def _parsed(unnamed: tuple, values: dict[str, Any]) -> dict[str, Any]:
    if unnamed:
        name, value = unnamed if len(unnamed) == 2 else ("device", "cpu")
        example = f"{name}={value!r}" if name in _PARSERS else "device='cpu'"
        raise TypeError(f"Settings are given by their names: kerasvino.config.set({example}).")
    unknown = [name for name in values if name not in _PARSERS]
    if unknown:
        raise TypeError(f"No setting {', '.join(unknown)}; there are: {', '.join(_PARSERS)}.")
    found: dict[str, Any] = {}
    for name, value in values.items():
        if value is None and name in _MAY_BE_NONE:
            found[name] = None
            continue
        found[name] = _value(name, _PARSERS[name], value)
    return found


# -- the environment


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable, "").strip())


def _variable(variable: str) -> Any:
    """What an environment variable says; None where it is not set."""
    value = os.environ.get(variable, "").strip()
    return _value(variable, _VARIABLES[variable], value) if value else None


@functools.cache
def _environment() -> Settings:
    variables = {name: f"KERASVINO_{name.upper()}" for name in _PARSERS}
    return Settings(**{n: _variable(v) for n, v in variables.items() if _is_set(v)})


def refused(variables: Iterable[str] = tuple(_VARIABLES)) -> list[str]:
    """What is wrong with the values of environment variables: a sentence for each."""
    found = []
    for variable in variables:
        try:
            _variable(variable)
        except ValueError as error:
            found.append(str(error))
    return found


def unknown() -> list[str]:
    """Environment variables that are called like settings, and are none."""
    ours = {*_VARIABLES, *_OTHERS}
    return sorted(n for n in os.environ if n.startswith("KERASVINO_") and n not in ours)


def known() -> str:
    """The environment variables that there are, for messages."""
    return ", ".join(_VARIABLES)


def check_environment() -> None:
    """Refuses wrong values early, and warns of misspelt names.

    A device is looked for when it is first used: to ask OpenVINO for its devices takes time.

    Raises:
        ValueError: an environment variable `KERASVINO_…` holds what is not accepted.
    """
    wrong = refused(name for name in _VARIABLES if name != "KERASVINO_DEVICE")
    if wrong:
        raise ValueError("\n".join(wrong))
    if names := unknown():
        warnings.warn(
            f"{', '.join(names)}: no such environment variable; there are: {known()}.",
            stacklevel=2,
        )


# -- what applies

_process: Settings | None = None
_local = threading.local()


def get() -> Settings:
    """The settings that apply on this thread now.

    Raises:
        ValueError: an environment variable `KERASVINO_…` holds what is not accepted.
    """
    stack = getattr(_local, "stack", None)
    if stack:
        return stack[-1]  # type: ignore[no-any-return]
    return _process or _environment()


def set(*unnamed: Any, **settings: Any) -> None:
    """Changes settings of this process, and of those that it starts from now on.

    They are named as `Settings`' attributes. Child processes read them from the environment
    variables, which are set here.

    `kerasvino.config.set(device="gpu", precision="f16", cache_dir="~/.cache/kerasvino")`

    Raises:
        TypeError: there is no such setting, or one is given without its name.
        ValueError: a value is not accepted; the message says which are.
    """
    global _process
    changes = _parsed(unnamed, settings)
    _process = replace(_process or _environment(), **changes)
    _observe(_process)
    for name, value in changes.items():
        _tell_children(name, value)


def _tell_children(name: str, value: Any) -> None:
    """Has processes that are started from now on read a setting from their environment."""
    variable = f"KERASVINO_{name.upper()}"
    if value is None and getattr(Settings, name) is None:  # the default
        os.environ.pop(variable, None)
    else:
        os.environ[variable] = str(int(value)) if isinstance(value, bool) else str(value)


def _observe(settings: Settings) -> None:
    """Has eager operations looked at from now on, if any is to be."""
    if settings.check_numerics:
        observe()


class using:
    """Context manager: `settings` apply to what this thread runs inside; see `set`.

    Raises:
        TypeError: there is no such setting.
        ValueError: a value is not accepted; the message says which are.
    """

    def __init__(self, *unnamed: Any, **settings: Any):
        self._changes = _parsed(unnamed, settings)

    def __enter__(self) -> Settings:
        if not hasattr(_local, "stack"):
            _local.stack = []
        _local.stack.append(replace(get(), **self._changes))
        _observe(get())
        return get()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _local.stack.pop()


def eager_compiled() -> bool:
    """Whether concrete operations run as compiled programs (`KERASVINO_EAGER=compiled`).

    Raises:
        ValueError: the variable holds neither `host` nor `compiled`.
    """
    return bool(_variable("KERASVINO_EAGER") == "compiled")
