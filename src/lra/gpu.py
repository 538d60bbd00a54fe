"""One GPU for one job: which there are, and a lock on a share of one.

A device is its UUID, so that a lock means the same in every process, whatever CUDA_VISIBLE_DEVICES
calls it. Each device has SLOTS lock files in a folder of the user's own; a job that may share a
device with N - 1 others holds SLOTS / N of them, one that must be alone holds all. The kernel
releases them when the process ends, however it ends. Where there is no NVIDIA driver, nothing here
does anything.

Planning counts devices with this, so it imports no torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from lra.errors import LRAError

SLOTS = 12  # so that 1, 2, 3, 4, 6 or 12 jobs can share a device
LOOK_SECONDS = 0.5  # between two looks for a free device
TELL_SECONDS = 60.0


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
    finally:
        pynvml.nvmlShutdown()
    return found


def lock_folder() -> Path:
    """/tmp/lra-<user's number>; raises LRAError where it belongs to someone else.

    It is not XDG_RUNTIME_DIR, which goes away when a user logs out and leaves a training running,
    and not TMPDIR, which may differ between two jobs.
    """
    folder = Path(f"/tmp/lra-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise LRAError(f"{folder}: belongs to someone else, so GPUs cannot be locked; remove it")
    return folder


@contextmanager
def held(device: str, share: int, say: Callable[[str], None]) -> Iterator[str | None]:
    """Hold a 1 / share of a free GPU, the only one that CUDA then sees; wait until there is one.

    device: the configuration's, auto, cpu or cuda. share: how many jobs one GPU may have, 1, 2, 3,
    4, 6 or 12. Yields the device's UUID; None on the CPU. To be entered before CUDA is first used.
    Raises LRAError for another share.
    """
    check_share(share)
    names = [] if device == "cpu" else list(dict.fromkeys(devices()))
    if not names:
        yield None
        return
    name, locks = _wait(names, SLOTS // share, say)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = name
    try:
        yield name
    finally:
        if before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
        for lock in locks:
            lock.release()


def check_share(share: int) -> None:
    """Raises LRAError where slots cannot be shared so."""
    if share < 1 or SLOTS % share:
        choices = [str(n) for n in range(1, SLOTS + 1) if SLOTS % n == 0]
        raise LRAError(f"gpu_share: {share} is not possible; choose from {', '.join(choices)}")


def _wait(names: list[str], slots: int, say: Callable[[str], None]) -> tuple[str, list[FileLock]]:
    told = time.monotonic()
    while True:
        taken = _take(names, slots)
        if taken:
            return taken
        if time.monotonic() - told > TELL_SECONDS:
            say(f"waiting for a free GPU among {len(names)}")
            told = time.monotonic()
        time.sleep(LOOK_SECONDS)


def _take(names: list[str], slots: int) -> tuple[str, list[FileLock]] | None:
    """That many slots of the emptiest device, or None where none has them free.

    One process looks at a time, so that two never hold each a part of what both need.
    """
    folder = lock_folder()
    with FileLock(folder / "looking"):
        free = {name: _free_slots(folder, name) for name in names}
        most = max(len(locks) for locks in free.values())
        best = next(name for name in names if len(free[name]) == most)
        kept = free[best][:slots] if most >= slots else []
        for locks in free.values():
            for lock in locks:
                if lock not in kept:
                    lock.release()
    return (best, kept) if kept else None


def _free_slots(folder: Path, name: str) -> list[FileLock]:
    """Locks on all of a device's slots that nobody holds."""
    locks = [FileLock(folder / f"{name.replace('/', '_')}.{slot}") for slot in range(SLOTS)]
    return [lock for lock in locks if _locked(lock)]


def _locked(lock: FileLock) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
