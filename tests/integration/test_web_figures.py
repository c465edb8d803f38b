"""The figures of the pages: counted once, and never those of before a change."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tarx_toollog.replay.reports.comparison import Comparison, compare_runs
from tarx_toollog.replay.reports.report import Report, build_report
from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.replay.suites.accepting import accept
from tarx_toollog.store.labels import ALSO_RIGHT, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replay_steps import ALL, WRONG, ReplaySteps, StepFilter
from tarx_toollog.store.replays import NewTrial, Replays, ScoreRow, TrialRow
from tarx_toollog.web.routes import replay as pages
from tests.support.postgres import database as database_on
from tests.support.postgres import postgres
from tests.support.replays import mostly_right, request, write_log
from tests.support.web_pages import make_log, served_pages
from tests.unit.replay.support import fake_model

RUN = "/replay/runs/worse"
COMPARED = "/replay/compare?first=good&second=worse"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_log(tmp_path_factory.mktemp("web") / "t.db").read_bytes()


@pytest.fixture
def database(made: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    path.write_bytes(made)
    return path


@pytest.fixture
def log(database: Path) -> Iterator[ToolLog]:
    with ToolLog.open(database, read_only=False) as log:
        yield log


@pytest.fixture
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def state(log: ToolLog, run: str = "worse") -> bytes:
    return ReplaySteps(log).state(Replays(log).run(run).id)


def last_trial(log: ToolLog) -> TrialRow:
    """Return the trial that was stored last: its scores have the highest keys, which SQLite gives again."""
    replays = Replays(log)
    return max((trial for run in replays.runs() for trial in replays.trials(run.id)), key=lambda trial: trial.id)


def wrong_answer(log: ToolLog) -> str:
    replays = Replays(log)
    trials = replays.trials(replays.run("worse").id)
    return next(str(trial.exchange_uid) for trial in trials if trial.scores["step"].detail.get("code") == "wrong_tool")


def reverse(log: ToolLog, run: str) -> None:
    """Give the trial of a run that was stored last the other verdict, as scoring it again might."""
    replays = Replays(log)
    trial = max(replays.trials(replays.run(run).id), key=lambda trial: trial.id)
    value = 1.0 - (trial.scores["step"].value or 0.0)
    replays.replace_scores({trial.id: {**trial.scores, "step": ScoreRow(value, trial.scores["step"].detail)}})


def ask_again(log: ToolLog, run: str) -> None:
    """Ask a step once more."""
    replays = Replays(log)
    row = replays.run(run)
    trial = next(replays.trials(row.id))
    replays.record_trial(row.id, NewTrial(trial.scenario_id, trial.step_no, "infra_error", error="gone", attempt=2))


def answer_late(log: ToolLog, run: str) -> None:
    """Ask the same again, and get an answer."""
    replays = Replays(log)
    row = replays.run(run)
    trial = next(replays.trials(row.id))
    replays.record_trial(row.id, NewTrial(trial.scenario_id, trial.step_no, "ok", attempt=2))


def end(log: ToolLog, run: str) -> None:
    replays = Replays(log)
    replays.set_status(replays.run(run).id, "aborted")


@pytest.mark.parametrize("change", [reverse, ask_again, end])
def test_the_state_of_a_run_is_another_after_each_change_of_it_alone(
    log: ToolLog, change: Callable[[ToolLog, str], None]
) -> None:
    worse, good = state(log), state(log, "good")

    change(log, "worse")

    assert (False, True) == (worse == state(log), good == state(log, "good"))


def test_the_state_is_another_when_a_lost_answer_comes_though_its_trial_keeps_its_key(log: ToolLog) -> None:
    ask_again(log, "worse")
    before, key = state(log), last_trial(log).id
    answer_late(log, "worse")
    assert (key, False) == (last_trial(log).id, before == state(log))


def test_the_state_is_another_when_new_scores_get_the_keys_of_the_old_ones(log: ToolLog) -> None:
    (run,) = (run for run in Replays(log).runs() if last_trial(log).id in {t.id for t in Replays(log).trials(run.id)})
    keys = "SELECT id FROM score ORDER BY id"
    before, ids = state(log, run.name), list(log.query(keys).rows)

    reverse(log, run.name)

    assert ids == list(log.query(keys).rows)
    assert before != state(log, run.name)


def test_a_label_on_the_log_changes_no_figure_and_an_accepted_answer_may(log: ToolLog) -> None:
    steps, uid = ReplaySteps(log), wrong_answer(log)
    before = steps.accepted_state()
    Labels(log).add(NewLabel("exchange", uid, "quality", value_num=-1.0, annotator="ann"))
    assert before == steps.accepted_state()
    Labels(log).add(NewLabel("exchange", uid, ALSO_RIGHT, value_num=1.0, annotator="ann"))
    accepted = steps.accepted_state()
    assert before < accepted
    Labels(log).withdraw(accepted, "ann")
    assert accepted < steps.accepted_state()


def test_a_page_that_is_read_again_counts_nothing_again(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def watched_build(log: ToolLog, name: str) -> Report:
        counted.append(name)
        return build_report(log, name)

    def watched_compare(log: ToolLog, first: str, second: str) -> Comparison:
        counted.append(f"{first} {second}")
        return compare_runs(log, first, second)

    monkeypatch.setattr(pages, "build_report", watched_build)
    monkeypatch.setattr(pages, "compare_runs", watched_compare)

    texts = [[client.get(address).text for address in (RUN, f"{RUN}/steps", COMPARED)] for _ in range(3)]

    assert ["worse", "good worse"] == counted
    assert texts[0] == texts[1] == texts[2]


def test_an_accepted_answer_is_in_every_page_at_once_and_gone_when_it_is_withdrawn(
    client: httpx.Client, log: ToolLog
) -> None:
    def told() -> tuple[bool, bool, bool]:
        run, compared = client.get(RUN).text, client.get(COMPARED).text
        return "1/5" in run, "Regressions: right before, wrong now (4)" in compared, "was judged before" in compared

    assert (True, True, False) == told()
    done = accept(log, wrong_answer(log), by="ann")
    assert (False, False, False) == told()
    Labels(log).withdraw(done.label_id, "ann")
    assert (False, False, True) == told()
    score_run(log, "worse")
    assert (True, True, False) == told()


def test_the_curve_of_a_run_has_a_table_behind_it_and_its_scorers_are_told_in_words(client: httpx.Client) -> None:
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", client.get(RUN).text))
    assert re.search(
        r"up to step right 95 % interval wrong there of chains that came so far 1 60\.0 % \S+ % 2 5 ", words
    )
    assert "same arguments of steps with the right tools" in words
    assert "step_lenient" not in words


def test_a_new_trial_is_in_the_page_of_its_run_at_once(client: httpx.Client, log: ToolLog) -> None:
    assert "15 of 15 steps asked" in client.get(RUN).text
    ask_again(log, "worse")
    assert "16 of 15 steps asked" in client.get(RUN).text
    assert "1 steps have no answer" in client.get(RUN).text


def test_another_status_is_in_the_pages_at_once(client: httpx.Client, log: ToolLog) -> None:
    client.get(COMPARED)
    end(log, "worse")
    assert "worse is aborted" in client.get(COMPARED).text
    assert f"begun {datetime.now(UTC):%Y-%m}" in client.get(RUN).text


def test_postgresql_tells_states_apart_and_narrows_lists_as_sqlite_does() -> None:
    with postgres() as server, database_on(server, "figures") as url:
        write_log(url)
        with ToolLog.open(url, read_only=False) as log, fake_model(mostly_right) as model:
            replay(log, request(model, "worse"))
            before, steps = state(log), ReplaySteps(log)
            assert before == state(log)

            def count(**chosen: str) -> int:
                return len(steps.lines("worse", StepFilter(**chosen), after=0, limit=50))  # type: ignore[arg-type]

            assert [12, 1, 1, 4, 4] == [
                count(state=ALL),
                count(state=WRONG, tool="remember"),
                count(state=ALL, tool="save"),
                count(state=ALL, tool="remember"),
                count(state=ALL, tool="recall"),
            ]
            reverse(log, "worse")
            assert before != state(log)
