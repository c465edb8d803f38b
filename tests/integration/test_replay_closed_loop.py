"""Closed loops against a real HTTP server that follows a script, with a real store: each way in which a turn ends."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.responses import JSONResponse, Response

from tarx_toollog.errors import EndpointError
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.endpoint import Patience
from tarx_toollog.replay.running.recorded import RECORDED
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.replay.suites.freeze import stored
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, Replays, TrialRow
from tarx_toollog.store.suites import Suites
from tests.unit.replay.support import Json, calling, fake_model, last_user, saying
from tests.unit.replay.turns import Logged, turn, values

FIND = Logged("find_user", {"name": "Ann"}, '{"id": "u-4711"}')
NOTE = Logged("read_note", {"name": "plan"}, "three steps")
SEND = Logged("send", {"to": "u-4711", "text": "Hello"}, "sent")
PAY = Logged("pay", {"to": "u-4711", "amount": 5}, "paid")
FAILED = Logged("read_note", {"name": "plans"}, "no such note", is_error=True)
CHAIN = ([FIND], [NOTE], [SEND])
HASTY = Patience(retries=0, first_wait_s=0.01, loading_s=5.0, read_timeout_s=5.0)
RIGHT, WRONG, WASTE, OPEN = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, None, None)


class Case(NamedTuple):
    """How a model makes a turn, and what is to be said of it."""

    made: Sequence[Json]
    verdict: tuple[float | None, ...]
    code: str | None
    ending: str = "answered"
    log: Sequence[Sequence[Logged]] = CHAIN


def call(*made: Logged | tuple[str, Any]) -> Json:
    return calling(*((one[0], one[1]) for one in made))


FOUND, READ, SENT, DONE = call(FIND), call(NOTE), call(SEND), saying("Done.")
CASES = {
    "right": Case([FOUND, READ, SENT, DONE], RIGHT, None),
    "two questions at once": Case([call(NOTE, FIND), SENT, DONE], RIGHT, None),
    "wrong order": Case([READ, call(FIND, SEND), DONE], WRONG, "wrong_order"),
    "redundant read": Case([FOUND, READ, READ, SENT, DONE], WASTE, "redundant_call"),
    "extra write": Case([FOUND, READ, SENT, call(PAY)], WRONG, "extra_call", "diverged"),
    "stopped early": Case([FOUND, READ, DONE], WRONG, "stopped_early"),
    "leaked": Case(
        [FOUND, READ, saying('<tool_call>\n{"name": "send", "arguments": {"to": "u-4711"}}\n</tool_call>')],
        WRONG,
        "unparsed_tool_call",
    ),
    "looped": Case([FOUND, FOUND, FOUND], WRONG, "looped", "looped"),
    "max steps": Case([call(("send", {"to": str(n)})) for n in range(8)], WRONG, "max_steps", "max_steps"),
    "diverged read": Case([FOUND, call(("read_note", {"name": "x"}))], OPEN, "diverged_undetermined", "diverged"),
    "diverged write": Case(
        [FOUND, READ, call(("send", {"to": "Ann", "text": "Hello"}))], WRONG, "wrong_reference", "diverged"
    ),
    "recovers": Case([call(FAILED), READ, DONE], RIGHT, None, log=([FAILED], [NOTE])),
    "does not recover": Case(
        [call(FAILED), saying("There is none.")], WRONG, "no_recovery_after_error", log=([FAILED], [NOTE])
    ),
    "recovers from its own mistake": Case(
        [FOUND, READ, call(("send", {"to": "u-4711"})), SENT, DONE], WASTE, "redundant_call"
    ),
    "malformed": Case([FOUND, call(("send", '{"to"'))], WRONG, "malformed_json", "server_error"),
    "hallucinated": Case([call(("call_ann", {})), FOUND, READ, SENT, DONE], WRONG, "hallucinated_tool"),
}


def model(body: Mapping[str, Any]) -> Json | Response:
    """Follow the script of the turn; refuse, as llama-server does, a history with arguments that are no JSON."""
    own = [message for message in body["messages"] if message["role"] == "assistant"]
    for message in own:
        for entry in message["tool_calls"]:
            try:
                json.loads(entry["function"]["arguments"])
            except ValueError:
                return JSONResponse({"error": {"message": "Failed to parse tool call arguments", "code": 500}}, 500)
    case = CASES.get(last_user(body))
    return saying("Hello.") if case is None else case.made[len(own)]  # a plain question, whether it works at all


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log with one frozen turn for each case."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        freeze(opened, "t", {name: turn(*case.log, user=name) for name, case in CASES.items()})
        yield opened


def freeze(log: ToolLog, tag: str, scenarios: Mapping[str, Scenario]) -> None:
    named = (replace(scenario, conversation_uid=name) for name, scenario in scenarios.items())
    Suites(log).freeze(tag, [stored(scenario) for scenario in named], {})


def request(url: str, name: str = "r", **changes: Any) -> RunRequest:
    plain = RunRequest(name, "t", url, Overrides("tuned"), mode=CLOSED_LOOP, loop=LoopOptions(()), patience=HASTY)
    return replace(plain, **changes)


def turns(log: ToolLog, name: str = "r") -> dict[str, list[TrialRow]]:
    """Return the trials of each turn, by its name."""
    replays = Replays(log)
    names = {row.id: row.definition["source"]["conversation_uid"] for row in Suites(log).scenarios("t")}
    found: dict[str, list[TrialRow]] = {}
    for trial in replays.trials(replays.run(name).id):
        found.setdefault(names[trial.scenario_id], []).append(trial)
    return found


def test_every_ending_has_its_verdict_on_the_last_trial_of_its_turn(log: ToolLog) -> None:
    with fake_model(model) as server:
        replay(log, request(server.url))
    found = turns(log)

    assert list(CASES) == sorted(found, key=list(CASES).index)
    for name, case in CASES.items():
        *before, last = found[name]
        detail = last.scores["chain"].detail
        expected = (case.verdict, case.code, case.ending)
        assert (name, *expected) == (name, values(last.scores), detail.get("code"), detail["ending"])
        assert [{}] * len(before) == [trial.scores for trial in before]
        n_refused = case.ending == "server_error"
        assert list(range(1, len(case.made) + n_refused + 1)) == [trial.step_no for trial in found[name]]


def test_a_server_that_refuses_what_the_model_wrote_is_no_fault_of_the_network(log: ToolLog) -> None:
    with fake_model(model) as server:
        replay(log, request(server.url))

    assert ["ok", "ok", "model_error"] == [trial.status for trial in turns(log)["malformed"]]


def test_a_run_is_scored_again_from_its_trials_alone(log: ToolLog) -> None:
    with fake_model(model) as server:
        replay(log, request(server.url))
    before = turns(log)
    Replays(log).replace_scores({trial.id: {} for trials in before.values() for trial in trials})

    assert sum(map(len, before.values())) == score_run(log, "r")
    assert before == turns(log)


def test_an_unavailable_tool_lets_a_diverged_turn_go_on(log: ToolLog) -> None:
    exploring = LoopOptions((), on_divergence="error-result", max_steps=9)
    script: list[Json] = [FOUND, call(("read_note", {"name": "x"})), READ, SENT, DONE]

    def goes_on(body: Mapping[str, Any]) -> Json:
        n_made: int = sum(message["role"] == "assistant" for message in body["messages"])
        return script[n_made]

    with fake_model(goes_on) as server:
        replay(log, request(server.url, loop=exploring))
    last = turns(log)["diverged read"][-1]

    assert ((0.0, 1.0, 1.0), True) == (values(last.scores), last.scores["chain"].detail["exploratory"])
    assert [{}] == [trial.scores for trial in turns(log)["diverged read"] if trial.step_no == 4]


def test_a_turn_that_the_network_broke_is_made_again_from_its_beginning(log: ToolLog) -> None:
    failing = True

    def flaky(body: Mapping[str, Any]) -> Json | Response:
        return JSONResponse({}, 503) if failing and len(body["messages"]) > 1 else model(body)

    with fake_model(flaky) as server:
        with pytest.raises(EndpointError, match="does not answer any more"):
            replay(log, request(server.url))
        assert {"infra_error"} == {trial.status for trials in turns(log).values() for trial in trials}
        failing = False
        replay(log, request(server.url, resume=True))
    found = turns(log)

    assert {name: (case.verdict, len(case.made)) for name, case in CASES.items() if name != "malformed"} == {
        name: (values(trials[-1].scores), len(trials)) for name, trials in found.items() if name != "malformed"
    }


def test_the_logged_answers_are_right_and_turns_that_cannot_be_played_are_not_asked(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        unknown = turn([FIND._replace(result=None)], user="unknown")
        freeze(log, "t", {"whole": turn(*CHAIN), "without calls": turn(user="Hi"), "unknown": unknown})
        replay(log, request(RECORDED))
        found = turns(log)

    assert {"whole": RIGHT, "without calls": RIGHT} == {
        name: values(trials[-1].scores) for name, trials in found.items()
    }
