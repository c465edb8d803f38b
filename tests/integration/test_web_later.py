"""What a proxy does not need is imported when somebody needs it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx

from tarx_toollog.capture.access import Access
from tarx_toollog.config import Settings
from tarx_toollog.web.later import PagesLater


def test_a_proxy_starts_without_what_only_its_pages_need() -> None:
    code = "import sys, tarx_toollog.cli.serve; print({'fastapi', 'jinja2', 'alembic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "set()" == done.stdout.strip()


def test_requests_that_come_while_the_pages_are_made_get_their_answers(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))
    pages = PagesLater(settings, annotator="", access=Access.by_settings(settings, "pages", "127.0.0.1"))

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(pages)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            answers = await asyncio.gather(*(client.get("/api/nothing") for _ in range(3)))
        return [answer.status_code for answer in answers]

    assert [404, 404, 404] == asyncio.run(ask())
