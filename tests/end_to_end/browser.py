"""A headless Chromium without network, which tells what a page complains of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

CHROMIUM = which("chromium")

#: Warnings of what Snakemake's report brings along: they are no errors, and not ours.
THIRD_PARTY = ("cdn.tailwindcss.com should not be used", "The input spec uses Vega-Lite")


@dataclass
class Offline:
    """A browser; ``complaints`` are errors and warnings, ``requests`` what was asked for."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: Path) -> Page:
        """Open a file and wait until it has loaded."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(f"{message.type}: {message.text}")
                if message.type in ("error", "warning")
                and not any(text in message.text for text in THIRD_PARTY)
                else None
            ),
        )
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        return page

    @property
    def outside(self) -> list[str]:
        """Requests that left this machine."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@contextmanager
def offline_browser(width: int = 1400, height: int = 1000) -> Iterator[Offline]:
    """Start Chromium; without it the test is skipped."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; .ci/install-services installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        viewport = {"width": width, "height": height}
        try:
            yield Offline(browser.new_context(offline=True, viewport=viewport))
        finally:
            browser.close()
