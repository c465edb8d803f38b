import pytest

from tarx_toollog.cli import progress
from tarx_toollog.cli.app import App
from tarx_toollog.cli.progress import Progress
from tarx_toollog.cli.replay_run import run_progress
from tarx_toollog.replay.running.headway import Progress as RunProgress
from tarx_toollog.replay.statistics.proportion import wilson


def test_off_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 11.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    with Progress("steps", total=9) as bar:
        for _ in range(3):
            bar.advance()

    assert capsys.readouterr().err == "2 of 9 steps, 0.18/s, 0:38 left\n"


def test_what_was_done_before_says_nothing_about_how_fast_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 11.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    with Progress("steps", total=102, done=80) as bar:
        bar.advance(2)

    assert capsys.readouterr().err == "82 of 102 steps, 0.18/s, 1:50 left\n"


def test_a_run_says_once_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))

    with run_progress(App(), "steps") as listen:
        for done in (80, 82):  # resumed: 80 were there
            listen(RunProgress(done, 102, wilson(70, done), infra_errors=0, tokens_per_s=12.0))

    told = capsys.readouterr().err
    assert told.startswith("82 of 102 steps, right so far 85.4 %  [")
    assert told.endswith("70/82, 12.0 tokens/s, 0.17/s, 2:00 left\n")


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
