"""Script, style and templates of the pages, as files; a page holds them and fetches nothing."""

from __future__ import annotations

from pathlib import Path


def asset(name: str) -> str:
    """The text of a file in this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def head() -> str:
    """What a page with tables needs in its head, so that they can be sorted and searched."""
    when_read = f"addEventListener('DOMContentLoaded', () => {{\n{asset('tables.js')}}})"
    return f"<style>\n{asset('tables.css')}</style>\n<script>{when_read}</script>"
