import pytest

from tarx_toollog.cli import progress
from tarx_toollog.cli.progress import Progress


def test_off_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    with Progress("steps", total=9) as bar:
        for _ in range(3):
            bar.advance()

    assert capsys.readouterr().err == "2 of 9 steps, 0/s, 0:38 left\n"


def test_another_kind_of_work_begins_to_count_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 5.0, 15.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    with Progress("steps read", total=4) as bar:
        bar.begin("rows written")
        bar.advance(1000)

    assert bar.count == 1000
    assert capsys.readouterr().err == "rows written …\n1000 rows written, 100/s\n"


def test_work_that_cannot_be_counted_is_told_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("steps read") as bar:
        bar.begin("decisions")
        bar.begin("build recorded")

    assert capsys.readouterr().err == "decisions …\nbuild recorded …\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)

    with Progress("steps", quiet=True) as bar:
        bar.begin("rows")
        bar.advance(5)

    assert bar.count == 5
    assert capsys.readouterr().err == ""


def test_on_a_terminal_there_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    with Progress("steps", total=2) as bar:
        bar.advance(2)

    assert "steps" in capsys.readouterr().err
