"""A log in which every table has rows, with texts that hurt: for whatever moves, keeps or deletes whole logs."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

from tarx_toollog.canonical import content_hash
from tarx_toollog.config import Settings
from tarx_toollog.ids import uuid7
from tarx_toollog.model import EPOCH
from tarx_toollog.replay.running.runner import replay as run_replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.builds import Place, Probed
from tarx_toollog.store.datasets import DatasetExampleRow, Datasets, NewBuild
from tarx_toollog.store.frames import exchange_frames
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.tallies import fold_changed
from tarx_toollog.store.work import UnitKey, WorkUnits
from tarx_toollog.wire.model_facts import ChatTemplate, ModelFacts
from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, user
from tests.support.faulty_model import Answering, answering
from tests.support.replays import request, right
from tests.support.tool_log import write_tool_log
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

HURTS = "NUL \0, half a pair \ud83d, \\u0000, a tab\t, a line\r\n, \\N, \\., ß, 日本, 🜲, 1e400, \ufeff, {json}"
"""What a database may refuse, a text format may take for its own, or a round through JSON may change."""
_SECRET = "sk-proj-" + "Zx9" * 16
_NUMBERS = '{"query": 1e400, "a": 1.0, "a": 1.10, "z": 123456789012345678901234567890, "s": "\\ud83d\\u0000"}'


def write_full_log(database: str | Path) -> None:
    """Make the log: that of ``tool_log``, and all that it has not; some days are counted, and the last is not."""
    write_tool_log(database)
    _record(Settings(database=str(database), keep_raw="always"))
    with ToolLog.open(database, read_only=False) as log:
        _judge_and_build(log)
        _replay(log)
        fold_changed(log.engine)
        Chat(log, "late").turn(HURTS, saying("after all days were counted"))


def _record(settings: Settings) -> None:
    """Send exchanges through the journal, as a process does that records: with raw bodies, marks and a build."""
    uid = uuid7()
    journal = Journal(settings.journal_path, uid)
    ingester = Ingester(settings, uid)
    ingester.open()
    template = ChatTemplate("{{ messages }} " + HURTS, syntax="jinja")
    facts = ModelFacts(model="m-q4", file_name="base.gguf", n_params=2**40, size=2**33, n_ctx=8192, template=template)
    try:
        for raw in _exchanges():
            journal.append(exchange_frames(UUID(raw.begin.uid).bytes, raw))
        ingester.note_gap("torn", 2, HURTS)
        ingester.note_probe(Probed(Place(settings.upstream, "m-q4"), facts, None, EPOCH))
        ingester.finish(journal)
    finally:
        ingester.close()
        journal.close()


def _exchanges() -> list[RawExchange]:
    asked = [user(f"{HURTS} My key is {_SECRET}")]
    answer = assistant("", call("tarx_recall", _NUMBERS, "odd"))
    choices = [
        {"index": number, "finish_reason": "stop", "message": assistant(f"{number} {HURTS}")} for number in range(2)
    ]
    several = {"id": "c", "object": "chat.completion", "model": "m-q4", "choices": choices, HURTS: [0.1, -0.0, 1e300]}
    after = [*asked, answer, result("odd", {"error": HURTS})]
    return [
        raw_exchange(asked, answer, tools=TOOLS, params={"temperature": 0.1, "x": HURTS, "y": 2**70}, uid=uuid7()),
        raw_exchange(after, assistant("no"), tools=TOOLS, at_s=3, uid=uuid7()),
        raw_exchange([user("twice")], None, at_s=5, params={"n": 2}, body=several, uid=uuid7()),
        raw_exchange([user("cut")], None, at_s=9, end=False, uid=uuid7()),
    ]


def _judge_and_build(log: ToolLog) -> None:
    uid = next(log.trajectories()).conversation_uid
    labels = Labels(log)
    for value in (1.0, -0.5):  # the second one replaces the first
        labels.add(NewLabel("conversation", uid, "quality", value, annotator="ann", comment=HURTS))
    datasets = Datasets(log)
    made = datasets.start(NewBuild(None, None, "sft", "step", ("mlx",), {"text": HURTS, "near": 0.8}, 3))
    learned = DatasetExampleRow(content_hash("example", 1), "tool", split="train", copies=1, exchange_id=1)
    datasets.add(made.id, [learned, DatasetExampleRow(None, "identity", origin=HURTS, reason="not_completed")])
    datasets.finish(made.id, {"in": 1}, [])


def _replay(log: ToolLog) -> None:
    steps = (calling(("recall", {"query": "home"})), saying("done"))
    for name in ("one", "two"):
        Chat(log, name).turn(f"{name} {HURTS}", *steps)
    build(log, "all", EVERY_SPLIT)
    build(log, "t", replace(EVERY_SPLIT, tools=frozenset({"recall"})))  # what a view can read on every database
    for name in ("r", "s"):
        with answering(Answering(right)) as model:
            run_replay(log, request(model, name, limit=2))
    run = Replays(log).run("r")
    (scenario_id, *_) = sorted({trial.scenario_id for trial in Replays(log).trials(run.id)})
    WorkUnits(log).plan(run.id, [UnitKey(scenario_id, 1, 2)])
