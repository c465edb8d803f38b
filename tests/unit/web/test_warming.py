"""What a first look would wait for is done before it, in a process that only serves pages."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.web import site, warming


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_the_figures_of_the_first_page_are_asked_and_garbage_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noting(name: str, ask: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **more: Any) -> Any:
            asked.append(name)
            return ask(*args, **more)

        return noted

    for name in ("overview", "choices"):
        monkeypatch.setattr(warming, name, noting(name, getattr(warming, name)))
    monkeypatch.setattr(site._TEMPLATES, "cache", {})
    settings = Settings(database=str(tmp_path / "t.db"))
    ToolLog.open(settings=settings, read_only=False).close()

    warming.make_ready(settings)

    assert ["overview", "choices"] == asked
    assert len(site._TEMPLATES.list_templates()) == len(site._TEMPLATES.cache or ())
    assert gc.get_freeze_count() > 0


def test_a_log_that_cannot_be_read_is_left_to_the_page(tmp_path: Path) -> None:
    warming.make_ready(Settings(database=str(tmp_path / "there is none.db")))
