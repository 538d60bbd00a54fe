"""Git's answers about a checkout, whatever the user's environment says to git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lra.core.environment import cleaned
from lra.core.errors import LRAError


def git(root: Path, *arguments: str) -> str:
    """What git says in the folder `root`; git itself stays as it is.

    A checkout that belongs to someone else is trusted: its code is what runs here.
    Raises LRAError with git's reason.
    """
    command = ["git", "--no-optional-locks", "-c", "safe.directory=*", "-C", str(root)]
    try:
        done = subprocess.run([*command, *arguments], env=cleaned(os.environ), capture_output=True)
    except OSError as error:
        raise LRAError(f"git: {os.strerror(error.errno).lower()}") from None
    if done.returncode:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["failed"])[0]
        raise LRAError(f"{root}: git {arguments[0]}: {reason}")
    return done.stdout.decode("utf-8", "surrogateescape")
