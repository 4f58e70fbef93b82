"""What memory this process may use, and what it has used."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

from homodyne_memory._estimate import BYTES_PER_GB

DEFAULT_MEMORY_FRACTION = 0.75
"""Share of the memory that a fit may take unless it is told otherwise."""

_FRACTION_VARIABLE = "NLSQ_MEMORY_FRACTION"
_LOWEST_FRACTION, _HIGHEST_FRACTION = 0.1, 0.9
_ASSUMED_TOTAL_GB = 16.0


def total_memory_gb() -> float:
    """Memory that this process can have at most.

    The machine's, from psutil, else from ``os.sysconf``, else 16 GB is assumed; or the limit of the control
    group that the process runs in (containers, batch systems), where that is lower.

    Returns
    -------
    float
        Gigabytes of 10**9 bytes.
    """
    total = _physical_bytes()
    machine = total / BYTES_PER_GB if total is not None else _ASSUMED_TOTAL_GB
    limit = _control_group_bytes(Path("/"))
    return machine if limit is None else min(machine, limit / BYTES_PER_GB)


def memory_threshold_gb(fraction: float | None = None) -> float:
    """Memory above which a fit must not hold its full Jacobian.

    Parameters
    ----------
    fraction : float, optional
        Share of `total_memory_gb`, 0.1 to 0.9. By default the environment variable ``NLSQ_MEMORY_FRACTION``,
        and 0.75 where that is not set.

    Returns
    -------
    float
        Gigabytes of 10**9 bytes.

    Raises
    ------
    ValueError
        If the fraction, given or from the environment, is not a number from 0.1 to 0.9.
    """
    origin, given = "fraction", fraction
    if given is None:
        origin, given = _FRACTION_VARIABLE, os.environ.get(_FRACTION_VARIABLE, DEFAULT_MEMORY_FRACTION)
    try:
        share = float(given)
    except (TypeError, ValueError):
        share = float("nan")
    if not _LOWEST_FRACTION <= share <= _HIGHEST_FRACTION:  # also catches NaN
        raise ValueError(
            f"{origin} is {given!r}; expected a number from {_LOWEST_FRACTION} to {_HIGHEST_FRACTION}, "
            "the share of the memory that a fit may use"
        )
    return share * total_memory_gb()


def peak_memory_gb() -> float:
    """Largest resident memory of this process since it started.

    A high-water mark: it does not fall (but for the few pages that Linux counts late), so a fit's own need is
    at most the difference between a reading after it and one before.

    Returns
    -------
    float
        Gigabytes of 10**9 bytes, from ``VmHWM`` where the system has ``/proc``, else from ``getrusage``, else
        from psutil.
    """
    # getrusage is second choice on Linux: a child starts with its parent's mark there.
    peak = _peak_bytes_of_proc(Path("/proc/self/status"))
    if peak is None:
        peak = _peak_bytes_of_getrusage()
    if peak is None:
        memory = psutil.Process().memory_info()
        peak = getattr(memory, "peak_wset", memory.rss)
    return peak / BYTES_PER_GB


def _physical_bytes() -> int | None:
    """Memory of the machine, or None if nothing tells it."""
    try:
        total = psutil.virtual_memory().total
        if total > 0:
            return total
    except (OSError, RuntimeError, psutil.Error):  # a sandbox may hide what psutil reads
        pass
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # no sysconf here, or not these names
        return None
    return total if total > 0 else None


def _control_group_bytes(root: Path) -> int | None:
    """Lowest memory limit of the control groups of this process, or None without one."""
    limits = [limit for path in _limit_files(root) if (limit := _limit_in(path)) is not None]
    return min(limits, default=None)


def _limit_files(root: Path) -> Iterator[Path]:
    """Files that may hold a memory limit of this process: its group's and those of all groups above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2: one hierarchy for everything
            mount, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):  # version 1
            mount, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container may see the path of its group on the host, whose folders it lacks: those are skipped,
        # and the container's own group is at the mount point.
        inner = PurePosixPath(group.lstrip("/"))
        for folder in (inner, *inner.parents):
            yield mount / folder / name


def _limit_in(path: Path) -> int | None:
    """Limit written in a control group's file; None if there is no such file or no limit in it."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    # Version 2 writes "max" for no limit; version 1 a number larger than any machine's memory.
    return int(text) if text.isdecimal() else None


def _peak_bytes_of_proc(status: Path) -> int | None:
    """Peak from a Linux status file, or None if it has none."""
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        key, _, value = line.partition(":")
        if key == "VmHWM":
            return int(value.split()[0]) * 1024  # "kB" there means 1024 bytes
    return None


def _peak_bytes_of_getrusage() -> int | None:
    """Peak as POSIX systems count it, or None elsewhere."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, else KiB
