"""Debian's chromium, without a network, for tests of pages.

Screenshots go to the folder that LRA_SCREENSHOTS names, else to build/screenshots.
"""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

import pytest

from tiny import ROOT

SHOTS = Path(os.environ.get("LRA_SCREENSHOTS", ROOT / "build/screenshots"))
FETCHED = (  # script: what the document took from elsewhere than itself and the disk
    "return performance.getEntriesByType('resource').map(e => e.name)"
    ".filter(name => !/^(data|blob|file):/.test(name))"
)
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
wanted = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="no chromium or chromedriver on this machine"
)


def start(folder: Path):
    """A browser that can resolve no name and keeps its files in `folder`; the caller quits it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(DRIVER))


def shoot(browser, name: str) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    whole = {"captureBeyondViewport": True}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", whole)["data"]
    (SHOTS / f"{name}.png").write_bytes(base64.b64decode(shot))


def rows(browser, label: str, column: int) -> list[str]:
    """The first line of a column's cells in sight; group headings are left out."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)]"
        ".filter(r => r.getClientRects().length && r.cells.length > 1)"
        ".map(r => r.cells[arguments[1]].innerText.split('\\n')[0])",
        label,
        column,
    )


def press(browser, label: str, column: int) -> str | None:
    return browser.execute_script(
        "const h = document.querySelectorAll(`#${arguments[0]} th.gt_col_heading`)[arguments[1]];"
        "h.querySelector('button').click(); return h.ariaSort",
        label,
        column,
    )
