import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.errors import NothingMatchedError, StoreError
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources import variants
from tarx_toollog.export.sources.steps import LogOptions
from tarx_toollog.export.sources.variants import variant_examples
from tarx_toollog.ids import uuid7
from tarx_toollog.replay import scenario as replay_scenario
from tarx_toollog.replay.running.asking import Overrides, request_body
from tarx_toollog.replay.scoring import judge_trial, scenarios_of
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.replays import NewTrial, Replays, TrialStatus
from tarx_toollog.store.schema import conversation, scenario, score
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.unit.export.sources.mining import Found, brief, examples
from tests.unit.replay.support import TOOLS, Chat, Json, calling, completion, saying

RECALL = ("recall", {"query": "home"})
OTHER = ("recall", {"query": "work"})
START_NS = 1_790_000_000_000_000_000


@dataclass
class Replayed:
    """A log with one conversation that was frozen, to which runs can be added answer by answer."""

    log: ToolLog
    number: int = 0

    def run(self, name: str, *answers: tuple[int, Json | None], **extra_body: Any) -> None:
        """Record a run: for each step number an answer; None stands for a server that could not be reached.

        ``extra_body`` replaces keys of the requests.
        """
        overrides = Overrides("m", extra_body=extra_body)
        replays = Replays(self.log)
        run = replays.start_run(name=name, tag="t", model="m", endpoint="e", params={"limit": None}, server=None)
        ((row, frozen),) = scenarios_of(self.log, run)
        asked: dict[int, int] = {}
        for step_no, message in answers:
            asked[step_no] = asked.get(step_no, 0) + 1
            step = next(step for step in frozen.steps if step.step_no == step_no)
            exchange_id = None if message is None else self.write(request_body(step, overrides), message, run.uid)
            status: TrialStatus = "ok" if exchange_id is not None else "infra_error"
            trial_id = replays.record_trial(
                run.id, NewTrial(row.id, step_no, status, exchange_id, None, asked[step_no])
            )
            (trial,) = replays.trials(run.id, trial_id=trial_id)
            replays.replace_scores({trial.id: judge_trial(step, trial)})

    def write(self, body: Json, message: Json, run_uid: str) -> int:
        self.number += 1
        request, answer = json.dumps(body).encode(), completion(message)
        answer["usage"] = {"prompt_tokens": 50, "completion_tokens": self.number}
        data = json.dumps(answer).encode()
        started_ns = START_NS + self.number * 10**9
        begin = Begin(
            uuid7(), "replay", "POST", "/v1/chat/completions", started_ns, run_uid=run_uid, body_size=len(request)
        )
        response = ResponseStart(200, (("content-type", "application/json"),))
        raw = RawExchange(begin, request, response, (Chunk(1, data),), End(2, final_seen=True, body_size=len(data)))
        return self.log.write([decode(raw)])[0]

    def keep_for(self, split: str) -> None:
        with self.log.engine.begin() as connection:
            connection.execute(sa.update(conversation).values(split=split))

    def found(self, *runs: str, **options: Any) -> list[Found]:
        log_options = LogOptions(**options)
        with ToolLog.open(settings=self.log.settings) as log:
            return list(variant_examples(log, runs, Normaliser(), log_options, lambda: None))


@pytest.fixture
def replayed(tmp_path: Path) -> Iterator[Replayed]:
    """A turn in which the model recalls and then answers, kept for training and frozen under the tag ``t``."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Chat(log, "chat").turn("Where do I live?", calling(RECALL), saying("In Porto."), result="Porto")
        made = Replayed(log)
        made.keep_for("train")
        build(log, "t", Filters(splits=frozenset(SPLITS)))
        yield made


def test_the_format_of_definitions_is_the_one_that_replay_writes() -> None:
    assert replay_scenario.FORMATS == variants.SCENARIO_FORMATS


def test_a_wrong_answer_is_set_against_the_right_one_of_its_own_run(replayed: Replayed) -> None:
    replayed.run("other", (1, calling(RECALL)))
    replayed.run("r", (1, calling(OTHER)), (1, calling(RECALL)))
    found = replayed.found("other", "r")

    assert ["no_pair", ([RECALL], [OTHER]), "no_pair"] == brief(found)
    (example,) = examples(found)
    assert ["user", "assistant"] == [piece.value["role"] for piece in example.messages]
    assert example.tools is not None
    assert TOOLS == example.tools.value
    # The second answer of all was the wrong one, the third the right one of the same run.
    assert (50, 3, "tool", "train") == (example.input_tokens, example.output_tokens, example.source, example.registry)
    assert (1, 1) == (example.origin.turn_no, example.origin.step_no)
    assert example.origin.exchange_uid is not None
    assert replayed.log.exchange(example.origin.exchange_uid).leg == "replay"


def test_without_one_of_its_own_the_right_answer_of_another_named_run_is_taken(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))
    replayed.run("other", (1, calling(RECALL)))

    (example,) = examples(replayed.found("r", "other"))
    assert 2 == example.output_tokens


def test_without_any_right_answer_the_expected_calls_are_taken(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))
    replayed.run("not named", (1, calling(RECALL)))

    (example,) = examples(replayed.found("r"))
    assert [([RECALL], [OTHER])] == brief([example])
    assert example.output_tokens is None


def test_a_right_answer_to_another_prompt_or_with_other_tools_is_not_taken(replayed: Replayed) -> None:
    pairs = {}
    for name, extra in (("messages", [{"role": "user", "content": "Home?"}]), ("tools", TOOLS[:1])):
        replayed.run(f"right, other {name}", (1, calling(RECALL)), **{name: extra})
        replayed.run(f"wrong, {name}", (1, calling(OTHER)))
        (example,) = examples(replayed.found(f"right, other {name}", f"wrong, {name}"))
        pairs[name] = example.output_tokens

    # With fewer tools the call is as possible as it was; nobody gave the expected call to this prompt.
    assert {"messages": None, "tools": 3} == pairs


def test_what_is_expected_is_no_answer_where_a_run_did_not_offer_its_tool(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(("save", {"title": "x"}))), tools=TOOLS[1:])
    replayed.run("other", (1, calling(RECALL)))

    assert ["no_pair", "no_pair"] == brief(replayed.found("r", "other"))


def test_a_call_that_nobody_needed_is_set_against_the_logged_text(replayed: Replayed) -> None:
    replayed.run("r", (2, calling(OTHER)))

    assert [("In Porto.", [OTHER])] == brief(replayed.found("r"))


def test_a_call_that_broke_its_schema_or_was_not_offered_can_be_the_worse_answer(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(("recall", {}))), (1, calling(("fly", {}))))

    assert [([RECALL], [("recall", {})]), ([RECALL], [("fly", {})])] == brief(replayed.found("r"))


def test_what_cannot_be_written_or_did_not_come_is_refused(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(("recall", "{"))), (1, None), (1, saying("")))

    assert ["invalid_arguments", "no_answer", "no_answer"] == brief(replayed.found("r"))


def test_equal_wrong_answers_give_one_pair(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)), (1, calling(OTHER)))

    assert [([RECALL], [OTHER]), "duplicate"] == brief(replayed.found("r"))


def test_a_scenario_of_a_conversation_that_is_kept_for_evaluation_is_refused(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)), (1, calling(RECALL)))
    reasons = {}
    for split in ("eval", "dev", "train"):
        replayed.keep_for(split)
        found = replayed.found("r")
        reasons[split] = brief(found)[0], [example.registry for example in examples(found)]

    pair = ([RECALL], [OTHER])
    assert {"eval": ("eval_conversation", []), "dev": (pair, ["dev"]), "train": (pair, ["train"])} == reasons


def test_so_is_one_whose_conversation_is_no_longer_there(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))
    with replayed.log.engine.begin() as connection:
        connection.execute(sa.update(scenario).values(conversation_uid="gone"))

    assert ["eval_conversation"] == brief(replayed.found("r"))


def test_an_answer_that_nobody_has_scored_is_neither_better_nor_worse(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))
    with replayed.log.engine.begin() as connection:
        connection.execute(sa.delete(score))

    assert ["not_preferred"] == brief(replayed.found("r"))


def test_results_are_not_asked_of_calls_that_nobody_carried_out(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)), (1, calling(RECALL)))

    (example,) = examples(replayed.found("r", gate=GateOptions(require_result=True)))
    assert 2 == example.output_tokens


def test_a_summary_tool_among_the_expected_calls_makes_a_summary(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))

    assert ["summary"] == [item.source for item in replayed.found("r", summary_tools=frozenset({"recall"}))]


def test_a_run_that_does_not_exist_and_a_newer_definition_are_said(replayed: Replayed) -> None:
    with pytest.raises(NothingMatchedError, match="no run called 'nobody'"):
        replayed.found("nobody")
    replayed.run("r", (1, calling(OTHER)))
    with replayed.log.engine.begin() as connection:
        connection.execute(sa.update(scenario).values(definition={"format": 99}))
    with pytest.raises(StoreError, match="format 99"):
        replayed.found("r")


def test_every_answer_is_counted_once_and_in_the_order_of_the_runs_as_they_were_named(replayed: Replayed) -> None:
    replayed.run("b", (2, calling(OTHER)), (1, calling(OTHER)))
    replayed.run("a", (1, calling(RECALL)))
    counted: list[None] = []
    with ToolLog.open(settings=replayed.log.settings) as log:
        found = list(variant_examples(log, ["a", "b"], Normaliser(), LogOptions(), lambda: counted.append(None)))

    assert ["no_pair", ([RECALL], [OTHER]), ("In Porto.", [OTHER])] == brief(found)
    assert 3 == len(counted)
    assert brief(found) == brief(replayed.found("a", "b"))
    assert [1, 1, 2] == [item.origin.step_no for item in found]


def test_a_definition_names_its_own_steps(replayed: Replayed) -> None:
    replayed.run("r", (1, calling(OTHER)))
    with replayed.log.engine.begin() as connection:
        definition = connection.execute(sa.select(scenario.c.definition)).scalar_one()
        definition["steps"].reverse()
        connection.execute(sa.update(scenario).values(definition=definition))

    assert [([RECALL], [OTHER])] == brief(replayed.found("r"))
