"""How often the Slurm executor asks for its jobs.

It (2.8.0) waits 10 s longer each time that no job has ended, up to three minutes, whatever
`seconds-between-status-checks` says: at the end of a chain of short jobs that is most of the time.
"""

from __future__ import annotations

import asyncio

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


def keep(seconds: float) -> None:
    """Let the executors of this process wait so long, every time."""

    async def sleep(_: RemoteExecutor) -> None:
        await asyncio.sleep(seconds)

    RemoteExecutor.sleep = sleep
