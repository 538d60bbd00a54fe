"""NVIDIA's driver as a machine with one GPU has it, with the names and units of nvidia-ml-py.

The GPU draws 200 W, uses 3 GB and is half busy, for as long as the process lives. LRA_STANDIN_NVML
may name functions that the device does not support: "nvmlDeviceGetTotalEnergyConsumption".
"""

import os
import time
from types import SimpleNamespace

UUID = "GPU-5tand1n"
WATTS = 200


class NVMLError(Exception):
    pass


def nvmlInit():
    pass


def nvmlShutdown():
    pass


def nvmlDeviceGetCount():
    _supported("nvmlDeviceGetCount")
    return 1


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetUUID(handle):
    _supported("nvmlDeviceGetUUID")
    return UUID


def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != UUID:
        raise NVMLError("Not Found")
    return 0


def nvmlDeviceGetName(handle):
    return "NVIDIA Stand-in"


def nvmlSystemGetDriverVersion():
    _supported("nvmlSystemGetDriverVersion")
    return "999.1"


def _supported(name):
    if name in os.environ.get("LRA_STANDIN_NVML", ""):
        raise NVMLError("Not Supported")


def nvmlDeviceGetTotalEnergyConsumption(handle):
    _supported("nvmlDeviceGetTotalEnergyConsumption")
    return int(time.monotonic() * WATTS * 1000)  # mJ since the driver was loaded


def nvmlDeviceGetPowerUsage(handle):
    _supported("nvmlDeviceGetPowerUsage")
    return WATTS * 1000  # mW


def nvmlDeviceGetUtilizationRates(handle):
    _supported("nvmlDeviceGetUtilizationRates")
    return SimpleNamespace(gpu=50, memory=10)


def nvmlDeviceGetMemoryInfo(handle):
    _supported("nvmlDeviceGetMemoryInfo")
    return SimpleNamespace(total=80 * 10**9, used=3 * 10**9, free=77 * 10**9)
