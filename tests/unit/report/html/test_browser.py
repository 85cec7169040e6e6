"""The page in a real browser: it sorts, filters, opens a cell, and requests nothing.

It needs Debian's ``chromium`` and ``chromium-driver``, and selenium; without them it is skipped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backbench.report.html.page import page_of
from tests.unit.report.html.pages import row, source

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver on the PATH"
    ),
    pytest.mark.slow,
]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    service = pytest.importorskip("selenium.webdriver.chrome.service").Service(DRIVER)
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


def test_a_page_sorts_filters_and_opens_a_cell_without_a_request(
    browser: Any, tmp_path: Path
) -> None:
    rows = [
        row(asr, method=name, attack="patch")
        for name, asr in (("byol", 0.3), ("moco-v2", 0.6), ("rotnet", 0.1))
    ]
    page = tmp_path / "report.html"
    page.write_text(page_of(source(rows)), encoding="utf-8")
    browser.get(page.as_uri())

    def shown() -> list[str]:
        script = (
            "return [...document.querySelectorAll('table.main tbody tr')]"
            ".filter(row => row.offsetHeight > 0).map(row => row.cells[0].innerText.trim())"
        )
        found: list[str] = browser.execute_script(script)
        return found

    def heading(title: str) -> Any:
        found = browser.find_elements("css selector", "table.main th button")
        return next(one for one in found if one.text.startswith(title))

    assert shown() == ["byol", "moco-v2", "rotnet"]
    heading("ASR").click()
    assert shown() == ["moco-v2", "byol", "rotnet"]
    heading("ASR").click()
    assert shown() == ["rotnet", "byol", "moco-v2"]
    heading("Method").click()
    assert shown() == ["byol", "moco-v2", "rotnet"]

    field = browser.find_element("css selector", ".filters input")
    field.send_keys("asr>0.2 o")
    assert shown() == ["byol", "moco-v2"]
    assert browser.find_element("css selector", ".filters output").text == "2 of 3 rows"
    field.clear()
    field.send_keys("moco")
    assert shown() == ["moco-v2"]

    (cell,) = [
        one for one in browser.find_elements("css selector", "details.cell") if one.is_displayed()
    ]
    assert "accuracy/clean" not in cell.get_attribute("innerText")
    browser.find_element("css selector", "table.main tbody tr:not([hidden]) a").click()
    assert cell.get_attribute("open") is not None
    assert "accuracy/clean" in cell.get_attribute("innerText")

    field.clear()
    field.send_keys(" ")
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    furthest = (
        "return Math.max(document.documentElement.scrollWidth, "
        "...[...document.querySelectorAll('.main .v, .main .b, .main .c')]"
        ".map(one => one.getBoundingClientRect().right))"
    )
    assert browser.execute_script(furthest) <= 390

    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    requested = {
        one["params"]["request"]["url"]
        for one in messages
        if one["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in requested if not url.startswith(("data:", "chrome:"))} <= {
        page.as_uri(),
        browser.current_url,
    }
    assert browser.get_log("browser") == []


def test_a_long_table_begins_with_its_first_rows_and_sorts_all(
    browser: Any, tmp_path: Path
) -> None:
    rows = [row(number / 300, method="byol", attack=f"patch-{number}") for number in range(250)]
    page = tmp_path / "report.html"
    page.write_text(page_of(source(rows), most_figures=0), encoding="utf-8")
    browser.get(page.as_uri())

    def shown() -> list[str]:
        script = (
            "return [...document.querySelectorAll('table.main tbody tr')]"
            ".filter(row => row.offsetHeight > 0).map(row => row.cells[0].textContent)"
        )
        found: list[str] = browser.execute_script(script)
        return found

    def others() -> list[str]:
        found = browser.find_elements("css selector", "#leaderboard > button.act")
        return [one.text for one in found if one.is_displayed()]

    assert (len(shown()), others()) == (200, ["Show all 250 rows"])
    buttons = browser.find_elements("css selector", "table.main th button")
    next(one for one in buttons if one.text.startswith("ASR")).click()
    assert (shown()[0], len(shown())) == ("patch-249", 200)
    field = browser.find_element("css selector", ".filters input")
    field.send_keys("patch-7")
    assert (shown()[-1], len(shown()), others()) == ("patch-7", 11, [])
    field.clear()
    field.send_keys(" ")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert len(shown()) == 250
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.find_element("css selector", "#leaderboard > button.act").click()
    assert (len(shown()), others()) == (250, [])

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.get(page.as_uri())
    heights = browser.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]["height"]
    assert heights > 250 * 20
