"""Logged turns whose calls come back differently, labels on them, and runs that answer otherwise."""

import json
from typing import Any

import pytest

from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.suites.freeze import Turn, read_turns
from tarx_toollog.store.labels import EXPECTED, QUALITY, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, completion, fake_model, results_since, saying

FAILED = '{"error": "no such memory"}'
OK = '{"ok": true}'


def talk(chat: Chat, user: str, *said: tuple[Json, str]) -> None:
    """Log one turn: the user's text, and answers of the model, each with what comes back for its calls."""
    chat.history.append({"role": "user", "content": user})
    for answer, result in said:
        chat._exchange(completion(answer), 200)
        chat.history.append(answer)
        for call in answer.get("tool_calls", ()):
            chat.history.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def turns(log: ToolLog) -> list[Turn]:
    return list(read_turns(log, EVERY_SPLIT))


def exchanges(log: ToolLog) -> list[str]:
    """Return the uids of all exchanges of main lines, in order."""
    return [step.exchange_uid for turn in log.trajectories(EVERY_SPLIT) for step in turn.steps]


def steps(log: ToolLog) -> list[ScenarioStep]:
    """Return all steps that are asked."""
    return [step for turn in turns(log) if isinstance(turn.found, Scenario) for step in turn.found.steps]


def tiers(log: ToolLog) -> list[str]:
    """Return the tier of each step, or why it is not asked, in the order of the log."""
    found: list[str] = []
    for turn in turns(log):
        if isinstance(turn.found, Scenario):
            scenario = turn.found
            by_step = {step.step_no: step.tier or scenario.tier for step in scenario.steps}
            by_step |= {left.step_no: left.reason for left in scenario.omitted}
            found += [by_step[number] for number in sorted(by_step)]
        else:
            found.append(turn.found.reason)
    return found


def say(log: ToolLog, uid: str, value: float = 1.0, **more: Any) -> int:
    """Say that an exchange, or a call, is good or bad."""
    kind: Any = "tool_call" if "." in uid else "exchange"
    return Labels(log).add(NewLabel(kind, uid, **{"name": QUALITY, "value_num": value, "annotator": "ann", **more}))


def expect(log: ToolLog, uid: str, correction: Any, **more: Any) -> int:
    """Say what would have been right."""
    kind: Any = "tool_call" if "." in uid else "exchange"
    new = NewLabel(kind, uid, EXPECTED, correction=correction, **{"annotator": "ann", **more})
    return Labels(log).add(new)


def other_than_logged(body: Json) -> Json:
    """Call another tool where the log calls one."""
    return calling(("remember", {"text": "home"})) if results_since(body) == 0 else saying("Porto")


def ask(log: ToolLog, name: str, answer: Any, tag: str = "t") -> None:
    with fake_model(answer) as model:
        replay(log, RunRequest(name, tag, model.url, Overrides("m")))


def right_steps(log: ToolLog, name: str) -> tuple[int, int]:
    """Return how many steps of a run are right, of how many."""
    replays = Replays(log)
    values = [trial.scores["step"].value for trial in replays.trials(replays.run(name).id)]
    return sum(value == 1.0 for value in values), len(values)


class Typed:
    """Types commands on one log."""

    def __init__(self, log: ToolLog, capsys: pytest.CaptureFixture[str]) -> None:
        self._database = log.settings.database
        self._capsys = capsys
        self.err = ""

    def __call__(self, command: Any, *arguments: str, code: int = 0) -> str:
        app = App(database=self._database)
        found = exits.run(
            lambda: command.main(list(arguments), standalone_mode=False, obj=app), wants_traceback=lambda: False
        )
        out, self.err = self._capsys.readouterr()
        assert code == found, self.err
        return out

    def json(self, command: Any, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(command, *arguments, "--json", code=code))
