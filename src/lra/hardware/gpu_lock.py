"""One GPU for one job, or for a few small ones: which there are, and locks on each.

A device is its UUID, so that a lock means the same in every process, whatever CUDA_VISIBLE_DEVICES
calls it. The kernel releases a lock when its process ends, however it ends. Where there is no
NVIDIA driver, nothing here does anything.

Planning counts devices with this, so it imports no torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock

from lra.core.errors import SPEAKER, LRAError
from lra.core.files import one_line
from lra.core.locks import take
from lra.core.progress import say
from lra.core.unique import unique

LOOK_SECONDS = 0.5  # between two looks for a free device
REPORT_SECONDS = 60.0
MOST_SHARED = 8  # jobs on one device, each of which holds one of so many locks
SHARE = "LRA_GPU_SHARE"  # in the environment of a job that may share its device with so many


def devices() -> list[str]:
    """What this process may use: UUIDs, in the order of CUDA_VISIBLE_DEVICES or of the driver.

    Numbers count devices as nvidia-smi does. LRA_PRETEND_GPUS="a,b" stands for a machine with two.
    """
    pretended = os.environ.get("LRA_PRETEND_GPUS")
    found = pretended.split(",") if pretended else _uuids()
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None or not found:
        return found
    visible: list[str] = []
    for name in map(str.strip, chosen.split(",")):
        if name.isdecimal():
            matches = found[int(name) :][:1]
        elif name.startswith("MIG-"):  # a slice of a device is a device of its own
            matches = [name]
        else:  # CUDA takes the beginning of a UUID, too
            matches = [uuid for uuid in found if name and uuid.startswith(name)]
        if not matches:
            break  # as CUDA does: what follows an unknown one is not seen
        visible += matches[:1]
    return visible


def _uuids() -> list[str]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []  # no driver
    found = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            with suppress(pynvml.NVMLError):  # a cluster's job may not ask for another job's GPU
                found.append(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:  # a driver that has crashed, or was updated under us
        say(f"{SPEAKER}NVIDIA's driver fails ({error}), so its GPUs are not counted")
    return found


def lock_folder() -> Path:
    """/tmp/lra-<user's number>; raises LRAError where it belongs to someone else.

    It is not XDG_RUNTIME_DIR, which goes away when a user logs out and leaves a training running,
    and not TMPDIR, which may differ between two jobs.
    """
    folder = Path(f"/tmp/lra-{os.getuid()}")
    with one_line(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise LRAError(f"{folder}: belongs to someone else, so GPUs cannot be locked; remove it")
    return folder


def sharers() -> int:
    """How many jobs such as this one may hold one device at a time; 1 where nobody says so."""
    return int(os.environ.get(SHARE) or 1)


@contextmanager
def held(device: str, say: Callable[[str], None], share: int = 1) -> Iterator[str | None]:
    """Hold a free GPU, the only one that CUDA then sees; wait until there is one.

    device: the configuration's, auto, cpu or cuda. share: with so many jobs, this one among them,
    that say the same; 1: alone. Yields the device's UUID; None on the CPU. To be entered before
    CUDA is first used.
    """
    names = [] if device == "cpu" else unique(devices())
    if not names:
        yield None
        return
    name, locks = _wait(names, share, say)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        yield name
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        _release(locks)


def _wait(
    names: list[str], share: int, say: Callable[[str], None]
) -> tuple[str, list[BaseFileLock]]:
    reported = time.monotonic()
    while True:
        for name in names:
            locks = _taken(name, share)
            if locks:
                return name, locks
        if time.monotonic() - reported > REPORT_SECONDS:
            say(f"waiting for a free GPU among {len(names)}")
            reported = time.monotonic()
        time.sleep(LOOK_SECONDS)


def lock_files(name: str) -> list[Path]:
    """A device's locks: a job alone holds all of them, one that shares holds one."""
    file = lock_folder() / name.replace("/", "_")
    return [file, *(file.with_name(f"{file.name}.{i}") for i in range(1, MOST_SHARED))]


def _taken(name: str, share: int) -> list[BaseFileLock]:
    """One of the device's first `share` locks, or all of its locks for a job alone; none: busy."""
    if share > 1:
        shared = map(take, lock_files(name)[:share])
        return next(([lock] for lock, taken in shared if taken), [])
    locks: list[BaseFileLock] = []
    for file in lock_files(name):
        lock, taken = take(file)
        if not taken:
            _release(locks)
            return []
        locks.append(lock)
    return locks


def _release(locks: list[BaseFileLock]) -> None:
    for lock in locks:
        lock.release()
