"""`keras.distribution` on this backend: data parallelism, each process with one device.

`initialize` joins processes; each holds all weights, reads its part of every global batch, and the
gradients are averaged (`training.replicas`). A mesh of one device is where everything runs anyway.
Several devices in one process, and weights that are split, are refused: training on a part of what
was asked for would go unnoticed.
"""

from __future__ import annotations

import sys

from kerasvino.backend.keras_private import PLUGGABLE, at, global_state
from kerasvino.distribution import current, join, place
from kerasvino.primitives.collective import register_exchange
from kerasvino.runtime import config, devices

__all__ = [
    "check", "check_current", "distribute_data_input", "distribute_tensor", "distribute_variable",
    "get_device_count", "initialize", "install", "list_devices", "num_processes", "process_id",
    "replicas",
]  # fmt: skip

_INSTEAD = (
    "kerasvino distributes data over processes, one device each "
    "(keras.distribution.initialize, docs/distributed.md), not over several devices of one "
    "process, nor weights. Several requests at a time on one device are kerasvino.config.set("
    'performance="throughput").'
)


def install() -> None:
    """Gives `keras.distribution` this module, in Keras 3.15, which knows of none for OpenVINO."""
    if not PLUGGABLE:
        at("keras.src.distribution.distribution_lib").distribution_lib = sys.modules[__name__]


def list_devices(device_type: str | None = None) -> list[str]:
    """The devices, as `["cpu:0", "gpu:0"]`; those of one type if it is given.

    In a process that is alone, those that OpenVINO finds. Among several, one for each process, as
    each computes on one: `["cpu:0", "cpu:1"]`.

    Raises:
        ValueError: there is no device of that type.
    """
    present = _present()
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
    """How many devices there are, of one type if it is given; among processes, one for each."""
    kinds = [name.partition(":")[0] for name in _present()]
    return len(kinds) if device_type is None else kinds.count(str(device_type).lower())


def _present() -> list[str]:
    group = current()
    if group is None:
        return devices.devices()
    kind = config.get().device.partition(":")[0].partition(".")[0].lower()
    return [f"{kind}:{rank}" for rank in range(group.size)]


def initialize(job_addresses=None, num_processes=None, process_id=None) -> None:
    """Joins the other processes, and waits for them; nothing for one process.

    What is not given is taken from the launcher's environment: torchrun, Ray Train, mpirun, srun.
    Numbers drawn without a seed are the same on all processes from here on: they have that of
    process 0, unless `keras.utils.set_random_seed` was called before.

    Raises:
        ValueError: what is given is incomplete or does not fit together.
        ImportError: torch, which brings the transport, is not installed.
        DistributedError: the others do not come within five minutes.
    """
    where = place(job_addresses, num_processes, process_id)
    if where is None or current() is not None:
        return
    group = join(where, config.get().collective_timeout)
    register_exchange(group.total)
    _share_seed(group)


def _share_seed(group) -> None:
    """The same global seed on all processes, as Keras has it on JAX."""
    from keras.utils import set_random_seed  # these import the backend

    from kerasvino.backend.keras_private import get_random_seed, make_default_seed

    if not any(group.gather(get_random_seed() is not None)):
        set_random_seed(int(group.broadcast(make_default_seed())))


def num_processes() -> int:
    """How many processes there are."""
    group = current()
    return 1 if group is None else group.size


def process_id() -> int:
    """The number of this process, from 0."""
    group = current()
    return 0 if group is None else group.rank


def replicas():
    """The group of processes over which the present distribution has a model trained, or None.

    Raises:
        ValueError: the distribution is not one that this backend has.
    """
    distribution = global_state.get_global_attribute("distribution")
    if distribution is None:
        return None
    check(distribution)
    return current()


def check(distribution) -> None:
    """Refuses a distribution that this backend does not have.

    Raises:
        ValueError: it is over several devices of a process, over one that is not there, or splits
            weights. (Keras's Sequential swallows a NotImplementedError.)
    """
    mesh = getattr(distribution, "device_mesh", None)
    if mesh is not None:
        _check_mesh(mesh)
    if current() is not None and isinstance(distribution, _model_parallel()):
        raise ValueError(
            f"{type(distribution).__name__} splits weights over devices; {_INSTEAD} Use "
            "keras.distribution.DataParallel()."
        )


def _model_parallel() -> type:
    from kerasvino.backend.keras_private import ModelParallel  # which imports the backend

    return ModelParallel


def check_current() -> None:
    """`check` of the distribution that is set, if any."""
    distribution = global_state.get_global_attribute("distribution")
    if distribution is not None:
        check(distribution)


def _check_mesh(mesh) -> None:
    names = [str(name) for name in mesh.devices.flat]
    if current() is not None:
        known = _present()
        if names != known:
            raise ValueError(
                f"A mesh of the devices {', '.join(names)}; the processes are "
                f"{', '.join(known)}, all of which take part. Leave `devices` and `device_mesh` "
                "out: keras.distribution.DataParallel()."
            )
        return
    for name in names:
        devices.resolve(name)
    if len(names) > 1:
        raise ValueError(f"A mesh of the devices {', '.join(names)}: {_INSTEAD}")


def distribute_tensor(tensor, layout):
    """This process's part of a tensor that all processes give whole.

    The tensor itself, where the layout splits no axis, and where a step or another compiled
    function is traced: there, each process has its own part already.

    Raises:
        ValueError: the layout's mesh is not that of the processes, or splits an axis of a length
            that they do not divide.
    """
    mesh = getattr(layout, "device_mesh", None)
    if mesh is None:
        return tensor
    _check_mesh(mesh)
    group = current()
    split = [i for i, name in enumerate(layout.axes) if name is not None]
    if group is None or not split or getattr(tensor, "is_symbolic", False):
        return tensor
    if len(split) > 1:
        raise ValueError(f"A layout over {layout.axes}: {_INSTEAD}")
    axis, length = split[0], tensor.shape[split[0]]
    if length % group.size:
        raise ValueError(
            f"A tensor of shape {tuple(tensor.shape)} cannot be split along axis {axis}: its "
            f"length is no multiple of the {group.size} processes."
        )
    part = length // group.size
    place = (slice(None),) * axis + (slice(group.rank * part, (group.rank + 1) * part),)
    return tensor[place]


def distribute_variable(value, layout):
    """The value, which each process holds whole.

    Raises:
        ValueError: the layout splits it.
    """
    if current() is not None and any(name is not None for name in getattr(layout, "axes", ())):
        raise ValueError(f"A variable with the layout {layout.axes}: {_INSTEAD}")
    mesh = getattr(layout, "device_mesh", None)
    if mesh is not None:
        _check_mesh(mesh)
    return value


def distribute_data_input(per_process_batch, layout, batch_dim_name):
    """The batch of this process, which is its part of the global one."""
    return per_process_batch


def _to_backend_mesh(mesh):
    _check_mesh(mesh)
    return mesh


def _to_backend_layout(layout):
    mesh = getattr(layout, "device_mesh", None)
    if mesh is not None:
        _check_mesh(mesh)
    return layout
