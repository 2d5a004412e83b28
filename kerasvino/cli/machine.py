"""What the operating system says of processors and memory; None where it does not say."""

from __future__ import annotations

import math
import os
import sys

__all__ = ["FEATURES", "available_memory", "cpu_flags", "cpus", "devices_without_driver"]

# Instruction sets that OpenVINO has kernels for: name, its flag in Linux.
FEATURES = {
    "AVX2": "avx2",
    "AVX-VNNI": "avx_vnni",
    "AVX512": "avx512f",
    "AVX512-VNNI": "avx512_vnni",
    "AVX512-BF16": "avx512_bf16",
    "AVX512-FP16": "avx512_fp16",
    "AMX": "amx_tile",
    "AMX-BF16": "amx_bf16",
    "AMX-INT8": "amx_int8",
}


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def cpu_flags(path: str = "/proc/cpuinfo") -> set[str] | None:
    """Flags of the first processor, in Linux's names."""
    for line in (_read(path) or "").splitlines():
        name, _, flags = line.partition(":")
        if name.strip().lower() in ("flags", "features"):
            return set(flags.split())
    return None


def cpus(quota_path: str = "/sys/fs/cgroup/cpu.max") -> tuple[int, int]:
    """How many processors this process may run on, and how many a container's quota grants."""
    if sys.platform == "linux":
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota, period, *_ = *(_read(quota_path) or "max").split(), "100000"
    granted = math.ceil(int(quota) / int(period)) if quota.isdigit() else allowed
    return allowed, max(1, min(allowed, granted))


def available_memory(
    meminfo: str = "/proc/meminfo", cgroup: str = "/sys/fs/cgroup"
) -> tuple[int, str] | None:
    """Bytes that programs may still take, and whose limit that is."""
    found = []
    for line in (_read(meminfo) or "").splitlines():
        if line.startswith("MemAvailable:"):
            found.append((int(line.split()[1]) * 1024, "machine"))
    limit = (_read(os.path.join(cgroup, "memory.max")) or "max").strip()
    used = (_read(os.path.join(cgroup, "memory.current")) or "").strip()
    if limit.isdigit() and used.isdigit():
        found.append((max(0, int(limit) - int(used)), "container"))
    return min(found) if found else None


def devices_without_driver(found: list[str], root: str = "/dev") -> list[str]:
    """Kinds of device that the kernel has nodes of, and that are not among those `found`."""
    nodes = {"gpu": ("dri", "renderD"), "npu": ("accel", "accel")}
    missing = []
    for kind, (folder, prefix) in nodes.items():
        path = os.path.join(root, folder)
        names = os.listdir(path) if os.path.isdir(path) else []
        present = any(name.startswith(prefix) for name in names)
        if present and not any(name.startswith(kind) for name in found):
            missing.append(kind)
    return missing
