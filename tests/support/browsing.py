"""A real headless browser for the tests of the pages, and a page in it that lets nothing go wrong unseen."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, sync_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

# The browser itself lays the colours on each other: some are half transparent, and some are mixed by the style.
_WORDS = """() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const brush = canvas.getContext("2d", { willReadFrequently: true });
  const lay = (colour) => { brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1); };
  const colour = () => `rgb(${[...brush.getImageData(0, 0, 1, 1).data].slice(0, 3)})`;
  const found = new Map();
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const words = texts.currentNode.data.trim();
    const element = texts.currentNode.parentElement;
    if (!words || !element.checkVisibility() || !element.getClientRects().length) continue;
    const papers = ["#fff"];
    for (let one = element; one; one = one.parentElement) {
      papers.splice(1, 0, getComputedStyle(one).backgroundColor);
    }
    papers.forEach(lay);
    const paper = colour();
    const style = getComputedStyle(element);
    lay(element instanceof SVGElement ? style.fill : style.color);
    found.set(paper + colour(), { words: words.slice(0, 60), ink: colour(), paper });
  }
  return [...found.values()];
}"""


@contextmanager
def started_browser(*arguments: str) -> Iterator[Browser]:
    """Yield the browser. While it runs, no other event loop can run in this thread: start servers before it."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is not installed")
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        # Chromium's own sandbox does not start for root, as whom tests run in containers.
        has_sandbox = os.geteuid() != 0
        started = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=has_sandbox, args=list(arguments)
        )
        yield started
        started.close()


@contextmanager
def watched(context: BrowserContext, own: str) -> Iterator[Page]:
    """Yield a page, and fail if it says an error, opens a dialog or asks anybody but ``own`` for anything."""
    trouble: list[str] = []

    def note(what: str, is_trouble: bool = True) -> None:
        if is_trouble:
            trouble.append(what)

    def dismiss(dialog: Dialog) -> None:
        note(f"dialog: {dialog.message}")
        dialog.dismiss()

    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda said: note(said.text, said.type in ("error", "warning")))
    page.on("pageerror", lambda error: note(str(error)))
    page.on("dialog", dismiss)
    page.on("request", lambda sent: note(sent.url, not sent.url.startswith(own)))
    yield page
    assert [] == trouble, trouble


class Words(NamedTuple):
    """Words that stand on a page, as an example of all that have the same colours."""

    words: str
    ink: str
    paper: str


def words_on(page: Page) -> list[Words]:
    """Return each pair of colours in which words can be seen on a page."""
    return [Words(**found) for found in page.evaluate(_WORDS)]
