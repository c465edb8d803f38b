import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tarx_toollog import __version__
from tarx_toollog.cli.main import COMMANDS, cli

HEAVY = (
    "sqlalchemy",
    "alembic",
    "fastapi",
    "starlette",
    "pydantic",
    "rich",
    "httpx",
    "jsonschema",
    "uvicorn",
    "asyncio",
)
PROBE = """
import json, sys
from tarx_toollog.cli.main import cli
try:
    cli.main(["--help"], prog_name="toollog")
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert "Commands:" in done.stdout
    imported = json.loads(done.stderr)
    assert "click" in imported
    assert [name for name in HEAVY if name in imported] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_help_is_the_one_of_the_command(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert (command.help or "").partition("\n")[0] == COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])

    assert result.exit_code == 0
    assert f"{name} [OPTIONS]" in result.output


def test_no_argument_shows_the_help() -> None:
    result = CliRunner().invoke(cli, [])

    assert result.exit_code == 0
    assert "toollog serve" in result.output


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(cli, ["--version"])

    assert (0, f"toollog {__version__}\n") == (result.exit_code, result.output)


@pytest.mark.parametrize("args", [["fly"], ["log", "fly"], ["log", "list", "--fly"], ["log", "list", "--limit", "0"]])
def test_a_wrong_word_is_a_usage_error_that_points_to_the_help(args: list[str]) -> None:
    result = CliRunner().invoke(cli, args)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "--help`" in result.stderr


def test_a_group_alone_shows_its_help() -> None:
    result = CliRunner().invoke(cli, ["log"])

    assert result.exit_code == 2
    assert "tail" in result.stderr
