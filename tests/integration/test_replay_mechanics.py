"""How a run asks: fast or strict, one at a time or several, with a key, in what order, and how far it says it is."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, planned, replay
from tarx_toollog.replay.running.server import SEED, Pace
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, Replays
from tests.support.faulty_model import PROPS, Answering, answering, like_llama, scripted, send
from tests.support.replays import figures, mostly_right, request, right, write_log
from tests.support.upstream import Connection
from tests.unit.cli.samples import run
from tests.unit.replay.support import Json, calling, fake_model, last_user, results_since

if TYPE_CHECKING:
    from tarx_toollog.replay.running.headway import Progress

KEY = "s3cret-kEy-0123456789"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    write_log(tmp_path / "t.db")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


# ---- fast and strict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pace", "temperature", "props", "sent"),
    [
        (Pace.FAST, 0.0, PROPS, {"temperature": 0.0, "seed": SEED}),
        (Pace.STRICT, 0.0, PROPS, {"temperature": 0.0, "seed": SEED, "top_k": 1, "cache_prompt": False}),
        (Pace.STRICT, 0.8, PROPS, {"temperature": 0.8, "seed": SEED, "cache_prompt": False}),
        (Pace.STRICT, 0.0, {}, {"temperature": 0.0, "seed": SEED}),  # not llama.cpp: its keys may be refused
    ],
)
def test_a_strict_run_sends_what_the_server_understands(
    log: ToolLog, pace: Pace, temperature: float, props: Json, sent: Json
) -> None:
    script = Answering(right, props)
    with answering(script) as server:
        replay(log, request(server, limit=1, pace=pace, overrides=Overrides("m", temperature)))
        replay(log, RunRequest("r", resume=True))
    keys = ("temperature", "seed", "top_k", "cache_prompt")
    assert [sent] * 3 == [{key: body[key] for key in keys if key in body} for body in script.requests]
    assert str(pace) == Replays(log).run("r").params["pace"]


def test_the_prompts_of_a_scenario_grow_out_of_each_other(log: ToolLog) -> None:
    script = Answering(right)
    with answering(script) as server:
        replay(log, request(server))
    asked = [(last_user(body), results_since(body)) for body in script.requests]
    assert [0, 1, 2] * 4 == [step for _, step in asked]
    assert 4 == len({user for user, _ in asked[::3]})
    assert all(asked[place][0] == asked[place + 2][0] for place in range(0, 12, 3))


def test_several_requests_at_a_time_ask_every_step_once(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model, concurrency=4))
        replay(log, request(model, "alone"))
    assert 24 == len(model.requests)
    assert figures(build_report(log, "alone")) == figures(build_report(log, "r"))


def test_a_server_gets_no_more_requests_at_a_time_than_it_has_slots(log: ToolLog) -> None:
    told: list[str] = []
    at_work, most = 0, 0

    def counting(body: Json) -> Json:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        try:
            return scripted(body)
        finally:
            at_work -= 1

    with answering(Answering(counting)) as server:
        replay(log, request(server, concurrency=5), notify=told.append)
    assert PROPS["total_slots"] >= most
    assert ["slots for 2 requests at a time"] == [line.split(" has ")[1].split(":")[0] for line in told]


def test_a_strict_run_asks_one_at_a_time_or_not_at_all(log: ToolLog) -> None:
    with pytest.raises(ConfigError, match="one at a time"):
        replay(log, RunRequest("r", "t", "recorded:", Overrides("m"), pace=Pace.STRICT, concurrency=2))
    with pytest.raises(ConfigError, match="no server that could share work"):
        replay(log, RunRequest("r", "t", "recorded:", Overrides("m"), more_endpoints=("http://127.0.0.1:1",)))
    assert [] == Replays(log).runs()


# ---- the server -----------------------------------------------------------------------------------------------------


def test_the_server_is_described_and_must_stay_the_same(log: ToolLog) -> None:
    with fake_model(right) as model:
        replay(log, request(model))
        server = Replays(log).run("r").server
        assert server is not None
        assert (["fake"], "Q4_K_M", "a.gguf") == (server["models"], server["quantization"], server["file_name"])
        assert 34 == len(server["chat_template_hash"])
        model.props["chat_template"] = "another"
        with pytest.raises(ConfigError, match="chat_template_hash"):
            replay(log, RunRequest("r", resume=True))


def test_an_api_key_is_sent_and_kept_nowhere(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Answering(right)

    def guarded(_: Json, connection: Connection) -> bool:
        is_open = script.headers[-1].get(b"authorization") == f"Bearer {KEY}".encode()
        if not is_open:
            send(connection, 401, {"error": {"message": "Invalid API Key", "code": 401}})
        return not is_open

    script.fault = guarded
    monkeypatch.setenv("MODEL_KEY", KEY)
    with answering(script) as server:
        with pytest.raises(EndpointError, match="HTTP 401"):
            replay(log, request(server, "without"))
        replay(log, request(server, api_key_env="MODEL_KEY"))
        with log.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM score")
            connection.exec_driver_sql("DELETE FROM trial WHERE id > 6")
        told = run("--database", log.settings.database, "--debug", "replay", "run", "--resume", "r", "--json")
    assert 0 == told.exit_code, told.output
    assert {f"Bearer {KEY}".encode()} == {headers[b"authorization"] for headers in script.headers[-8:]}
    assert "MODEL_KEY" == Replays(log).run("r").params["api_key_env"]
    log.close()
    assert KEY not in told.output
    assert all(
        KEY.encode() not in file.read_bytes() for file in Path(log.settings.database).parent.iterdir() if file.is_file()
    )


@pytest.mark.parametrize("value", [None, "", "two\nlines", "schlüssel"])
def test_a_key_that_is_not_there_is_said_before_anything_is_asked(
    log: ToolLog, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv("MODEL_KEY", value)
    script = Answering(right)
    with answering(script) as server, pytest.raises(ConfigError, match="MODEL_KEY") as caught:
        replay(log, request(server, api_key_env="MODEL_KEY"))
    assert [] == script.headers
    assert "schlüssel" not in caught.value.message + caught.value.hint


# ---- a closed loop --------------------------------------------------------------------------------------------------


def test_a_closed_loop_is_recorded_turn_by_turn_and_its_verdict_stands_on_the_last_trial(log: ToolLog) -> None:
    script = Answering(right)
    with answering(script) as server:
        replay(log, request(server, mode=CLOSED_LOOP))
    trials = list(Replays(log).trials(Replays(log).run("r").id))
    assert [1, 2, 3] * 4 == [trial.step_no for trial in trials]
    assert [set(), set(), {"chain", "chain_strict", "chain_lenient"}] * 4 == [set(trial.scores) for trial in trials]
    assert [1.0] * 4 == [trial.scores["chain"].value for trial in trials[2::3]]


def test_a_turn_that_the_network_broke_is_made_again_from_its_beginning(log: ToolLog) -> None:
    script, broken = Answering(right), [1, 1, 1]

    def third_step(body: Json, connection: Connection) -> bool:
        is_it = bool(broken) and results_since(body) == 2
        if is_it:
            broken.pop()
            connection.reset()
        return is_it

    script.fault = third_step
    with answering(script) as server:
        replay(log, request(server, mode=CLOSED_LOOP, limit=1))
        (lost,) = Replays(log).trials(Replays(log).run("r").id)
        assert (3, "infra_error", {}) == (lost.step_no, lost.status, lost.scores)
        before = len(script.requests)
        replay(log, RunRequest("r", resume=True))
    assert [0, 1, 2] == [results_since(body) for body in script.requests[before:]]
    trials = list(Replays(log).trials(Replays(log).run("r").id))
    assert [(1, "ok"), (2, "ok"), (3, "ok")] == [(trial.step_no, trial.status) for trial in trials]


def as_a_bad_request(body: Json, connection: Connection) -> bool:
    """Refuse what llama.cpp refuses, as other servers do."""
    if "{'query'" not in json.dumps(body["messages"]):
        return False
    send(connection, 400, {"error": {"message": "arguments must be JSON"}})
    return True


@pytest.mark.parametrize("fault", [like_llama, as_a_bad_request])
def test_in_a_closed_loop_what_the_model_wrote_is_not_mended_for_it(
    log: ToolLog, fault: Callable[[Json, Connection], bool]
) -> None:
    script = Answering(
        lambda body: calling(("recall", "{'query': 'home'}")) if results_since(body) == 0 else right(body)
    )
    script.fault = fault
    with answering(script) as server:
        replay(log, request(server, mode=CLOSED_LOOP, limit=1))
    first, second = Replays(log).trials(Replays(log).run("r").id)
    assert ("ok", "model_error") == (first.status, second.status)
    assert 0.0 == second.scores["chain"].value


# ---- how far it is, and how long it takes ---------------------------------------------------------------------------


def test_progress_ends_with_everything_done(log: ToolLog) -> None:
    seen: list[Progress] = []
    with answering(Answering(mostly_right)) as server:
        replay(log, request(server), seen.append)
    assert list(range(13)) == [now.done for now in seen]
    last = seen[-1]
    assert (11, 12) == (last.agreement.numerator, last.agreement.denominator)
    assert seen[0].tokens_per_s is None
    assert (last.tokens_per_s or 0) > 0


def test_a_dry_run_says_how_much_there_is_and_asks_nothing(log: ToolLog) -> None:
    script = Answering(right)
    with answering(script) as server:
        target = ("replay", "run", "t", "--endpoint", server.url, "--model", "tuned")
        before = run("--database", log.settings.database, *target, "--dry-run")
        asked_before = len(script.requests)
        replay(log, request(server))
        told = run("--database", log.settings.database, *target, "--dry-run", "--json", "--attempts", "3")
    assert (0, 0) == (before.exit_code, asked_before)
    assert "4 scenarios, 12 requests; the log does not tell" in before.output
    plan = json.loads(told.stdout)
    assert (4, 36, "r") == (plan["scenarios"], plan["units"], plan["speed_of"])
    assert ["r"] == [one.name for one in Replays(log).runs()]


def test_the_time_that_a_run_takes_is_that_of_as_many_tokens_at_the_speed_of_an_earlier_one(log: ToolLog) -> None:
    with answering(Answering(right)) as server:
        replay(log, request(server))
    with log.engine.begin() as connection:
        counted = "UPDATE exchange SET output_tokens = 30, usage_source = 'usage', total_ms = 2000"
        connection.exec_driver_sql(counted + " WHERE run_id IS NULL AND id <= 8")  # of 12: the others nobody counted
        connection.exec_driver_sql("UPDATE exchange SET output_tokens = 20, total_ms = 500 WHERE run_id IS NOT NULL")
    plan = planned(log, RunRequest("x", "t", "", Overrides("tuned"), attempts=2))
    assert (12 * 30 * 2, 40.0, "r") == (plan.output_tokens, plan.tokens_per_s, plan.speed_of)
    assert plan.minutes == pytest.approx(12 * 30 * 2 / 40 / 60)
    unknown = planned(log, RunRequest("x", "t", "", Overrides("another")))
    assert (15.0, None) == (unknown.tokens_per_s, unknown.speed_of)
