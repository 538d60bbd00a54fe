"""Script, style and template of the pages, as files. A page contains them and fetches nothing."""

from __future__ import annotations

from pathlib import Path


def asset(name: str) -> str:
    """The text of a file in this folder."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def head() -> str:
    """Style and script by which the tables of a page can be sorted and searched."""
    return f"<style>\n{asset('tables.css')}</style>\n<script>\n{asset('tables.js')}</script>"
