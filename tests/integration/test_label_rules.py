"""Rules over a real log: what is kept, once, and what is not said again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tarx_toollog.cli.main import cli
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.label_rules import LabelRules
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.support import Chat, Json, calling, saying


class Failing(Chat):
    """A conversation whose calls come back with errors until they are spelled as ``home``."""

    def turn(self, user: str, *answers: Json, status: int = 200, result: str = "ok") -> None:
        """Log one turn, step by step."""
        self.history.append({"role": "user", "content": user})
        for answer in answers:
            self._exchange({"id": "c", "object": "chat.completion", "model": "base", "choices": [
                {"index": 0, "message": answer, "finish_reason": "tool_calls" if "tool_calls" in answer else "stop"}
            ]}, status)  # fmt: skip
            self.history.append(answer)
            for call in answer.get("tool_calls", ()):
                said = "Porto" if "home" in call["function"]["arguments"] else '{"error": "no such place"}'
                self.history.append({"role": "tool", "tool_call_id": call["id"], "content": said})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        chat = Failing(log, "c")
        chat.turn("Where?", calling(("recall", {"query": "hoem"})), calling(("recall", {"query": "home"})), saying("!"))
        chat.turn("No, I meant the office", saying("Lisbon"))
        Chat(log, "d").turn("Hello", saying("Hi"))
    return tmp_path / "t.db"


@pytest.fixture
def log(path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(path, read_only=False) as opened:
        yield opened


def counts(log: ToolLog, *names: str, keeps: bool = True, filters: Filters | None = None) -> list[tuple[str, int, int]]:
    return [(one.rule, one.found, one.new) for one in LabelRules(log).apply(names, filters, keeps=keeps)]


def test_each_rule_keeps_what_it_finds_once_and_under_its_own_name(log: ToolLog) -> None:
    both = [("user_corrected", 1, 1), ("retried_after_error", 1, 1)]
    assert both == counts(log, keeps=False)
    assert [] == Labels(log).labels()
    assert both == counts(log)
    assert [("user_corrected", 1, 0), ("retried_after_error", 1, 0)] == counts(log)

    first, last = next(turn for turn in log.trajectories() if turn.signature).steps[::2]
    assert [
        ("exchange", last.exchange_uid, "quality", -1.0, "rule", "user_corrected"),
        ("tool_call", f"{first.exchange_uid}.0.0", "quality", -1.0, "rule", "retried_after_error"),
    ] == [
        (row.target_type, row.target_uid, row.name, row.value_num, row.annotator_kind, row.annotator)
        for row in Labels(log).labels()
    ]


def test_a_rule_does_not_say_again_what_a_person_took_back(log: ToolLog) -> None:
    assert [("user_corrected", 1, 1)] == counts(log, "user_corrected")
    (row,) = Labels(log).labels()
    Labels(log).withdraw(row.id, "ann")
    assert [("user_corrected", 1, 0)] == counts(log, "user_corrected")
    assert [] == Labels(log).labels()


def test_filters_say_which_turns_a_rule_sees(log: ToolLog) -> None:
    assert [("user_corrected", 0, 0)] == counts(log, "user_corrected", filters=Filters(conversation="d"))
    assert [("retried_after_error", 1, 1)] == counts(log, "retried_after_error", filters=Filters(limit=1))


def test_a_rule_that_is_not_there_is_an_error_with_the_names_of_those_that_are(log: ToolLog) -> None:
    with pytest.raises(ConfigError, match="unknown label rule 'no'") as caught:
        counts(log, "no")
    assert "user_corrected" in caught.value.hint


def run(path: Path, *arguments: str) -> list[Json]:
    done = CliRunner().invoke(cli, ["--database", str(path), "labels", "apply", "--json", *arguments])
    assert 0 == done.exit_code, done.output
    found: list[Json] = json.loads(done.stdout)
    return found


def test_the_command_counts_and_keeps(path: Path) -> None:
    dry = run(path, "--dry-run", "--rule", "retried_after_error")
    assert [("retried_after_error", 1, 1)] == [(row["rule"], row["found"], row["new"]) for row in dry]
    assert [1, 1] == [row["new"] for row in run(path)]
    assert [0, 0] == [row["new"] for row in run(path, "--since", "1d")]
    with ToolLog.open(path) as log:
        assert 2 == len(Labels(log).labels())
