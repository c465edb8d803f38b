"""One browser for the tests of a file, and a page in it for each; a file says by its fixture ``url`` what is shown."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browsing import started_browser, watched


@pytest.fixture(scope="module")
def browser(url: str) -> Iterator[Browser]:
    """Yield the browser. It comes after the server: while it runs, no other event loop can run in this thread."""
    with started_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """Yield a page, and fail if anything goes wrong in it."""
    with closing(browser.new_context(base_url=url)) as context, watched(context, url) as opened:
        yield opened
