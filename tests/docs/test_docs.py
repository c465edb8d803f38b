"""The documents say what the code does."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from examples.local_model import launch
from tarx_toollog._version import __version__
from tarx_toollog.cli.main import cli
from tarx_toollog.config import Settings
from tarx_toollog.store.schema import metadata
from tarx_toollog.store.views import VIEWS

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
ANCHOR = re.compile(r"\[[^\]]*\]\(([^)#:\s]*)#([^)]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_the_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, "scripts/docs.py", "--check"], cwd=ROOT, capture_output=True, text=True)

    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text("utf-8")) if not target.startswith("http")]

    assert [] == [target for target in targets if not (page.parent / target).exists()]


def anchors(page: Path) -> set[str]:
    """Return what a link may name behind the ``#``."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(page.read_text("utf-8"))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    targets = [(page.parent / path if path else page, name) for path, name in ANCHOR.findall(page.read_text("utf-8"))]

    assert [] == [(str(path), name) for path, name in targets if name not in anchors(path)]


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, f"{path} {name}"
            yield from commands(child, f"{path} {name}")


def test_every_command_and_option_has_help() -> None:
    silent = []
    for path, command in commands(cli, "toollog"):
        if not (command.help or "").strip():
            silent.append(path)
        for option in command.params:
            if isinstance(option, click.Option) and not option.help:
                silent.append(f"{path} {option.opts[0]}")

    assert [] == silent


def test_every_setting_table_and_view_column_is_described() -> None:
    undescribed = [name for name, field in Settings.model_fields.items() if not field.description]
    undescribed += [f"{t.name}.{c.name}" for t in metadata.tables.values() for c in t.columns if not c.comment]
    undescribed += [t.name for t in metadata.tables.values() if not t.comment]
    undescribed += [f"{v.name}.{name}" for v in VIEWS for name, about in v.columns.items() if not about]

    assert [] == undescribed


def test_the_changelog_knows_this_version() -> None:
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_demo_extra_is_the_server_that_the_launcher_installs() -> None:
    assert f'"{launch.SERVER_PACKAGE};' in (ROOT / "pyproject.toml").read_text("utf-8")


BANNED = {"thread_id", "episode", "annotation_kind", "observation", "session_id"}
"""Words of other houses for our concepts (docs/vocabulary.md); ``session_id`` may be read from clients."""


def test_columns_use_the_vocabulary() -> None:
    names = {c.name for t in metadata.tables.values() for c in t.columns} | {n for v in VIEWS for n in v.columns}

    assert set() == names & BANNED
