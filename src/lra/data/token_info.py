"""Metadata that the generated tasks of tokens share: what is read is also what is predicted."""

from __future__ import annotations

from lra.core.schema import Settings
from lra.data.split import Info


def token_info(
    task: str,
    generator: tuple[str, int],
    config: Settings,
    vocab_size: int,
    max_length: int,
    source: str = "generated",
    vocab: list[str] | None = None,
) -> Info:
    """Of a split whose examples have one length; generator: the module's name and its VERSION."""
    name, version = generator
    return Info(
        task=task,
        vocab_size=vocab_size,
        classes=vocab_size,
        max_length=max_length,
        pads=False,
        vocab=vocab,
        source=source,
        generator={"name": name, "version": version, "config": config.model_dump()},
    )
