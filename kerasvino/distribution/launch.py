"""Where a process stands among those that were started together.

Keras's own arguments come first, then what the launcher put into the environment: torchrun and Ray
Train name the process as torch.distributed does, the launchers of MPI and Slurm in their own way.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Place", "place"]

# Of each launcher: the variables that hold the number of processes, and that of this one.
_LAUNCHERS = (
    ("WORLD_SIZE", "RANK"),  # torchrun, Ray Train
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # mpirun of Open MPI
    ("PMI_SIZE", "PMI_RANK"),  # mpirun of MPICH and Intel MPI
    ("SLURM_NTASKS", "SLURM_PROCID"),  # srun
)
_EXAMPLE = (
    "keras.distribution.initialize('10.0.0.1:29500', num_processes=2, process_id=0), or the "
    "variables KERAS_DISTRIBUTION_JOB_ADDRESSES, KERAS_DISTRIBUTION_NUM_PROCESSES and "
    "KERAS_DISTRIBUTION_PROCESS_ID, or a launcher: torchrun, mpirun, srun, Ray Train"
)


class Place(NamedTuple):
    """A process among others.

    Attributes:
        host, port: where process 0 is met.
        size: how many processes there are.
        rank: the number of this one, from 0.
    """

    host: str
    port: int
    size: int
    rank: int


def place(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Place | None:
    """Where this process stands; None if it is alone.

    Args:
        job_addresses: "host:port" of process 0, or of all of them with commas in between.
        num_processes: how many there are.
        process_id: the number of this one, from 0.
        environment: of the launcher. Default: that of this process.

    Raises:
        ValueError: what is given is incomplete, or does not fit together.
    """
    environment = os.environ if environment is None else environment
    addresses = [a.strip() for a in (job_addresses or "").split(",") if a.strip()]
    size, rank = num_processes, process_id
    for names in _LAUNCHERS:
        if size is None and rank is None and all(name in environment for name in names):
            size, rank = (_number(environment[name], name) for name in names)
    if size is None and len(addresses) > 1:
        size = len(addresses)
    if (size or 1) == 1 and not rank and len(addresses) < 2 and (size is not None or not addresses):
        return None
    if size is None or rank is None:
        missing = "num_processes" if size is None else "process_id"
        raise ValueError(f"`{missing}` is not known. Give {_EXAMPLE}.")
    if len(addresses) > 1 and len(addresses) != size:
        raise ValueError(
            f"`job_addresses` names {len(addresses)} processes, `num_processes` is {size}. Name "
            "all of them, or process 0 alone."
        )
    if not 0 <= rank < size:
        raise ValueError(f"`process_id` is {rank}; of {size} processes it is from 0 to {size - 1}.")
    host, port = _address(addresses[0] if addresses else None, environment)
    return Place(host, port, size, rank)


def _number(text, name) -> int:
    if not text.strip().isdigit():
        raise ValueError(f"{name} is {text!r}; a whole number of 0 or more is expected.")
    return int(text)


def _address(given, environment) -> tuple[str, int]:
    if given is None:
        host, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
        if not host or not port:
            raise ValueError(
                f"The address of process 0 is not known. Give {_EXAMPLE}. mpirun and srun tell "
                "none: there, set KERAS_DISTRIBUTION_JOB_ADDRESSES."
            )
        return host, _number(port, "MASTER_PORT")
    host, colon, port = given.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"`job_addresses` is {given!r}; 'host:port' is expected, as 10.0.0.1:29500."
        )
    return host.strip("[]"), int(port)
