"""Takes the pictures of the README and of docs/analysts.md: ``python -m tests.browser.pictures``.

Their logs are always the same: that of ``weeks`` is made up from a seed, as the guide does with its first command. So a
picture changes only when a page does, or the fonts of the machine.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from playwright.sync_api import Browser, FloatRect, Page, ViewportSize

from bench import weeks
from bench.big_store import fill, tidy
from tests.support.analyst_log import write_analyst_log
from tests.support.browsing import started_browser, watched
from tests.support.web_pages import started_ui

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CALLS, WEEKS = 4_000, 4
_SIZE: ViewportSize = {"width": 1000, "height": 900}
_MARGIN = 8


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a part of a page."""

    name: str
    address: str
    first: str
    """Selector of what stands at its top."""
    last: str
    """Selector of what stands at its bottom."""
    clicks: Sequence[str] = ()
    """Selectors of what is clicked before, one after the other."""
    scheme: Literal["light", "dark"] = "light"
    log: Literal["weeks", "talks"] = "weeks"


_FETCH = "/tools/one?name=web_fetch"

PICTURES = (
    Picture("overview", "/", "header.top", "figure >> nth=1"),
    Picture("failing-tool", _FETCH, "h2:text('What goes wrong')", "table.reasons"),
    Picture("depth", "/", "h2:text('Success by depth')", "figure:has-text('by step of the turn')"),
    Picture("context", "/", "h2:text('How full the context is')", "figure:has-text('part of the context')"),
    Picture("week", _FETCH, "header.top", "figure:has-text('Calls by day')"),
    Picture("conversation", "/conversations/talk-4", "h1", ".step >> nth=2", log="talks"),
    Picture("queue", "/labels/queue", "header.top", "article >> nth=1", ["#keys summary"], "dark", "talks"),
)


def make_log(path: Path) -> Path:
    """Make the log of the guide, and return where it is."""
    fill(path, weeks.made_up(CALLS, WEEKS))
    tidy(path)
    return path


@contextmanager
def served_logs(made: Path) -> Iterator[Mapping[str, str]]:
    """Show the log of the guide, and a short one in which people talk sense; yield where."""
    talks = made.with_name("talks.db")
    write_analyst_log(talks)
    with started_ui(made) as weeks_url, started_ui(talks) as talks_url:
        yield {"weeks": weeks_url, "talks": talks_url}


def take_pictures(browser: Browser, urls: Mapping[str, str], folder: Path) -> None:
    """Take all of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        url = urls[picture.log]
        context = browser.new_context(base_url=url, viewport=_SIZE, color_scheme=picture.scheme)
        with closing(context), watched(context, url) as page:
            _take(page, picture, folder)


def _take(page: Page, picture: Picture, folder: Path) -> None:
    page.goto(picture.address)
    for selector in picture.clicks:
        page.locator(selector).first.click()
    top, bottom = (page.locator(selector).first.bounding_box() for selector in (picture.first, picture.last))
    assert top is not None
    assert bottom is not None
    scrolled = page.evaluate("scrollY")  # a place in the address was scrolled to
    begin = max(top["y"] + scrolled - _MARGIN, 0)
    height = bottom["y"] + bottom["height"] + scrolled + _MARGIN - begin
    clip: FloatRect = {"x": 0, "y": begin, "width": _SIZE["width"], "height": height}
    page.screenshot(path=folder / f"{picture.name}.png", full_page=True, clip=clip, animations="disabled")


def main() -> None:
    """Take them for the documents."""
    with (
        TemporaryDirectory() as folder,
        served_logs(make_log(Path(folder) / "example.db")) as urls,
        started_browser() as browser,
    ):
        take_pictures(browser, urls, IMAGES)


if __name__ == "__main__":
    main()
