# As many GPU jobs at once as this machine's GPUs can hold; each job then takes a free one by a lock.
from lra.hardware import gpu_lock

GPU_JOBS = len(gpu_lock.devices())
if GPU_JOBS and workflow.local_exec and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", GPU_JOBS)
