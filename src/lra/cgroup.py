"""What the kernel says of this process's memory cgroup, the witness of kills for lack of memory."""

from __future__ import annotations

from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def oom_kills() -> int | None:
    """How many processes of this cgroup the kernel has killed for lack of memory so far.

    None where that cannot be read (no cgroups, or a kernel that does not count).
    """
    try:
        lines = [line.split(":", 2) for line in SELF.read_text().splitlines()]
        paths = {name: path for _, names, path in lines for name in names.split(",")}
        if "memory" in paths:  # version 1
            return _count(MOUNT / "memory", paths["memory"], "memory.oom_control")
        return _count(MOUNT, paths[""], "memory.events")  # version 2: one line, "0::<path>"
    except (OSError, KeyError, ValueError):
        return None


def _count(mount: Path, path: str, file: str) -> int | None:
    folder = mount / path.lstrip("/")
    if not (folder / file).exists():
        folder = mount  # in a container the mount may be the cgroup itself
    fields = dict(line.split() for line in (folder / file).read_text().splitlines())
    return int(fields["oom_kill"]) if "oom_kill" in fields else None
