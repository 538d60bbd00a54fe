"""On PYTHONPATH of a test's snakemake: the queue is asked every LRA_TEST_POLL seconds.

The executor's own pause grows by 10 s each time that nothing has ended, and has no setting.
"""

import asyncio
import os

if os.environ.get("LRA_TEST_POLL"):
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    async def sleep(self):
        await asyncio.sleep(float(os.environ["LRA_TEST_POLL"]))

    RemoteExecutor.sleep = sleep
