"""torch counts devices at the first backward pass of a process, so the second one is made before."""

from second_device import second_device

second_device()
