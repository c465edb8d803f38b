import click
import pytest

from tarx_toollog.cli import exits
from tarx_toollog.errors import (
    CheckFailedError,
    ConfigError,
    EndpointError,
    NothingMatchedError,
    SchemaTooNewError,
    StoreError,
    ToolLogError,
)


def run(error: BaseException, *, debug: bool = False) -> int:
    def fail() -> None:
        raise error

    return exits.run(fail, wants_traceback=lambda: debug)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ToolLogError("x"), 1),
        (ConfigError("x"), 2),
        (click.UsageError("x"), 2),
        (NothingMatchedError("x"), 3),
        (CheckFailedError("x"), 4),
        (EndpointError("x"), 5),
        (StoreError("x"), 6),
        (SchemaTooNewError("x"), 6),
        (click.FileError("x"), 1),
        (RuntimeError("x"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 0),
        (exits.ReaderGoneError(), 0),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert code == run(error)


def test_an_error_is_one_line_and_its_hint_another(capsys: pytest.CaptureFixture[str]) -> None:
    run(StoreError("it is\nlocked", hint="close\nit"))

    assert capsys.readouterr().err == "error: it is locked\nhint: close it\n"


def test_there_is_no_empty_hint(capsys: pytest.CaptureFixture[str]) -> None:
    run(StoreError("locked"))

    assert capsys.readouterr().err == "error: locked\n"


def test_a_bug_is_two_lines_and_says_how_to_see_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    run(RuntimeError("boom"))

    err = capsys.readouterr().err
    assert "error: RuntimeError: boom" in err
    assert "--debug" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("error", [RuntimeError("boom"), StoreError("boom")])
def test_debug_shows_the_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    run(error, debug=True)

    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_number_that_a_command_returns_is_its_exit_code() -> None:
    assert exits.run(lambda: 7, wants_traceback=lambda: False) == 7
    assert exits.run(lambda: None, wants_traceback=lambda: False) == 0
