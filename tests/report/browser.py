"""One browser for the tests of a module, and pages that tell what they asked for and what went wrong in them."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_CHROMIUM = "needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"


class Seen:
    """A page opened from disk, with everything it did that a report must not do."""

    def __init__(self, context, path, address=""):
        self.page = context.new_page()
        self.requests, self.errors, self.dialogs = [], [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("dialog", self._dismiss)
        self.url = path.as_uri()
        self.page.goto(self.url + address)

    def _dismiss(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def ready(self):
        self.page.wait_for_selector("html[data-ready]", timeout=10_000)
        return self.page

    def assert_clean(self):
        """Nothing asked for but the file itself, no dialog, no error, no policy broken."""
        assert [url for url in self.requests if url.partition("#")[0] != self.url and not url.startswith("data:,")] == []
        assert self.dialogs == []
        assert self.errors == []


def launch():
    """A generator for a fixture: the browser, or a skip that says why."""
    if CHROMIUM is None:
        pytest.skip(NEEDS_CHROMIUM)
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as starter:
        browser = starter.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
