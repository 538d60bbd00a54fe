"""Energy, power and memory of a GPU while a job runs on it, reported by the NVIDIA driver.

Everything is None where there is no driver, or where the device does not report it (a MIG slice, a
virtual GPU). That is a normal case and no warning.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pynvml

SAMPLE_SECONDS = 1.0


class Meter:
    """Measures one device, from entering the block to leaving it.

    device: a UUID, or None on the CPU.
    """

    def __init__(self, device: str | None) -> None:
        self.device = device
        self.handle: Any = None
        self.first: int | None = None  # the energy counter at the start, in mJ
        self.samples: list[tuple[float, float]] = []  # seconds, watts
        self.busy: list[int] = []  # percent of the time in which a kernel ran
        self.memory = 0  # bytes in use at the peak, of all processes on the device
        self.left = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:
        if self.device is None:
            return self
        try:
            pynvml.nvmlInit()
            self.handle = pynvml.nvmlDeviceGetHandleByUUID(self.device)
        except pynvml.NVMLError:
            return self  # no driver, or a pretended device
        self.first = self._asked(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        self._look()
        self.sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.handle is not None:
            self.left.set()
            self.sampler.join()

    def joules(self) -> float | None:
        """Energy since the start: from the device's counter, else from sampled power."""
        if self.handle is None:
            return None
        now = self._asked(pynvml.nvmlDeviceGetTotalEnergyConsumption)
        if self.first is not None and now is not None:
            return (now - self.first) / 1000
        self._look()
        return integral(list(self.samples))

    def use(self) -> dict[str, Any] | None:
        """The fields of `records.GpuUse`."""
        if self.handle is None:
            return None
        self._look()
        watts = [power for _, power in self.samples]
        return {
            "name": self._asked(pynvml.nvmlDeviceGetName),
            "driver": self._asked(lambda _: pynvml.nvmlSystemGetDriverVersion()) or "unknown",
            "memory_bytes": self.memory or None,
            "utilisation": sum(self.busy) / len(self.busy) if self.busy else None,
            "watts": sum(watts) / len(watts) if watts else None,
        }

    def _sample(self) -> None:
        while not self.left.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        power = self._asked(pynvml.nvmlDeviceGetPowerUsage)  # mW
        if power is not None:
            self.samples.append((time.monotonic(), power / 1000))
        rates = self._asked(pynvml.nvmlDeviceGetUtilizationRates)
        if rates is not None:
            self.busy.append(rates.gpu)
        memory = self._asked(pynvml.nvmlDeviceGetMemoryInfo)
        if memory is not None:
            self.memory = max(self.memory, memory.used)

    def _asked(self, question: Any) -> Any:
        """None where the device does not report it."""
        try:
            return question(self.handle)
        except pynvml.NVMLError:
            return None


def integral(samples: list[tuple[float, float]]) -> float | None:
    """Joules of (seconds, watts), by the trapezoidal rule; None of fewer than two."""
    if len(samples) < 2:
        return None
    steps = zip(samples[:-1], samples[1:], strict=True)
    return sum((end - start) * (one + two) / 2 for (start, one), (end, two) in steps)
