"""The first pass counts tokens: by usage where the server counted what the row says, else by an estimate."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tarx_toollog.export.collect import Collector, estimate_rest
from tarx_toollog.export.example import Example, Origin, Piece, Unit
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.export.sources.log import log_examples
from tarx_toollog.export.sources.steps import LogOptions
from tarx_toollog.export.tokens import Calibration, parts_of
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.spool import Entry, Spool
from tests.support.counted_chat import CountedChat
from tests.support.http_server import Handler, served_by
from tests.unit.cli.samples import call, write_log

THOUGHTS = "Let me think about that. " * 100
RECALL = '{"query": "cat"}'


def collected(
    folder: Path, *chats: CountedChat, unit: Unit = "step", server: ServerTokens | None = None
) -> tuple[list[Entry], Collector]:
    """Return the entries of a log, all tokens counted or estimated."""
    with (
        ToolLog.open(settings=write_log(folder / "log.db", *chats)) as log,
        closing(Spool(folder / "spool.db")) as spool,
    ):
        collector = Collector(spool, ExportOptions(), server=server)
        collector.take(log_examples(log.trajectories(), Normaliser(), LogOptions(unit), lambda: None))
        estimate_rest(spool, collector.calibration)
        return list(spool.entries()), collector


def figures(entries: list[Entry]) -> list[tuple[int | None, int | None, str | None]]:
    return [(entry.n_tokens, entry.n_trained, entry.tokens_from) for entry in entries]


def recalled(chat: CountedChat) -> CountedChat:
    """Let the model recall something, and be counted."""
    chat.user("My cat?")
    chat.counts(100, 40).answer(None, call("tarx_recall", RECALL)).result("Miez")
    return chat


def test_what_the_server_counted_is_the_length_of_a_row(tmp_path: Path) -> None:
    chat = recalled(CountedChat("c")).counts(150, 9)
    chat.answer("Miez.")

    assert [(140, 40, "usage"), (159, 9, "usage")] == figures(collected(tmp_path, chat)[0])


def test_an_answer_without_its_reasoning_has_not_the_tokens_that_were_generated(tmp_path: Path) -> None:
    chat = CountedChat("c").counts(100, 900)
    chat.user("Two and two?").answer("Four.", reasoning_content=THOUGHTS)

    ((n_tokens, n_trained, tokens_from),) = figures(collected(tmp_path, chat)[0])
    assert n_trained is not None
    assert 2 <= n_trained <= 40
    assert (100 + n_trained, "estimate") == (n_tokens, tokens_from)


def test_what_is_generated_and_not_in_the_row_teaches_no_lengths(tmp_path: Path) -> None:
    found = []
    for thoughts, n_tokens in ((THOUGHTS, 900), ("", 3)):
        folder = tmp_path / str(n_tokens)
        folder.mkdir()
        chat = CountedChat("c").counts(400, n_tokens)
        chat.user("Two and two? " * 100).answer("Four.", reasoning_content=thoughts)
        found.append(collected(folder, chat)[1].calibration.weights)

    assert found[0] == pytest.approx(found[1], rel=0.05)
    assert found[0] != Calibration().weights  # the prompt was counted, and is learned from


def test_a_row_that_is_made_shorter_learns_no_reasoning_either(tmp_path: Path) -> None:
    chat = CountedChat("c").counts(100, 10)
    chat.user("Hello? " * 100).answer("Hello.")
    chat.counts(300, 900).user("Two and two?").answer("Four.", reasoning_content=THOUGHTS)

    with ToolLog.open(settings=write_log(tmp_path / "log.db", chat)) as log, closing(Spool(tmp_path / "s.db")) as spool:
        collector = Collector(spool, ExportOptions(max_tokens=200, overlong="trim-turns"))
        collector.take(log_examples(log.trajectories(), Normaliser(), LogOptions(), lambda: None))
        _, shortened = spool.entries()
    assert {"reasoning_left_out": 1, "shortened": 1} == collector.notes
    assert 2 <= (shortened.n_trained or 0) <= 40


def test_reasoning_that_is_kept_counts(tmp_path: Path) -> None:
    chat = CountedChat("c").counts(100, 900)
    chat.user("Two and two?").answer("Four.", reasoning_content=THOUGHTS)

    with ToolLog.open(settings=write_log(tmp_path / "log.db", chat)) as log, closing(Spool(tmp_path / "s.db")) as spool:
        normaliser = Normaliser(keep_reasoning=True)
        Collector(spool, ExportOptions()).take(log_examples(log.trajectories(), normaliser, LogOptions(), lambda: None))
        assert [(1000, 900, "usage")] == figures(list(spool.entries()))


def test_a_dialogue_has_the_tokens_of_all_its_answers(tmp_path: Path) -> None:
    chat = recalled(CountedChat("c")).counts(150, 9)
    chat.answer("Miez.")

    ((entry,), _) = collected(tmp_path, chat, unit="trajectory")
    assert [(159, 49, "usage")] == figures([entry])
    assert ("tarx_recall", [("tarx_recall", 40, 1), ("", 9, 2)]) == (
        entry.calls,
        [(answer.calls, answer.n_trained, answer.step_no) for answer in entry.learned],
    )
    assert [exchange.uid for exchange in chat.exchanges] == [answer.exchange_uid for answer in entry.learned]


@pytest.mark.parametrize("how", ["reasoning", "no usage"])
def test_a_dialogue_with_one_answer_that_was_not_counted_is_estimated(how: str, tmp_path: Path) -> None:
    chat = CountedChat("c")
    chat.user("My cat?")
    if how == "reasoning":
        chat.counts(100, 900).answer(None, call("tarx_recall", RECALL), reasoning_content=THOUGHTS)
    else:
        chat.counts_nothing().answer(None, call("tarx_recall", RECALL))
    chat.counts(150, 9).result("Miez").answer("Miez.")

    ((entry,), collector) = collected(tmp_path, chat, unit="trajectory")
    n_tokens, n_trained = entry.n_tokens or 0, entry.n_trained or 0
    assert "estimate" == entry.tokens_from
    assert 150 < n_tokens < 200
    assert 20 < n_trained < 200
    assert n_trained == sum(answer.n_trained for answer in entry.learned)
    assert entry.learned[0].n_trained > entry.learned[1].n_trained > 5
    assert ({"reasoning_left_out": 1} if how == "reasoning" else {}) == collector.notes


def test_of_a_pair_that_was_not_counted_the_longer_answer_is_estimated(tmp_path: Path) -> None:
    asked, short, long = (
        Piece({"role": "user", "content": "Well?"}),
        Piece({"role": "assistant", "content": "No."}),
        Piece({"role": "assistant", "content": "No, and " * 200}),
    )
    pairs = [
        Example((asked, chosen), None, "chat", Origin(), rejected=rejected)
        for chosen, rejected in ((short, long), (long, short))
    ]
    with closing(Spool(tmp_path / "s.db")) as spool:
        collector = Collector(spool, ExportOptions())
        collector.take(pairs)
        estimate_rest(spool, collector.calibration)
        expected = collector.calibration.estimate(parts_of((asked, long), None))
        assert [expected] * 2 == [entry.n_tokens for entry in spool.entries()]


class _Words(Handler):
    """Counts a word as a token."""

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server looks for
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/apply-template":
            value = {"prompt": " ".join(message["content"] or "call" for message in asked["messages"])}
        else:
            value = {"tokens": asked["content"].split()}
        self.answer(200, json.dumps(value).encode())


@pytest.fixture
def words() -> Iterator[ServerTokens]:
    with served_by(_Words) as url, ServerTokens(url) as counting:
        yield counting


def test_the_answers_of_a_dialogue_that_a_server_counts_are_all_learned(words: ServerTokens, tmp_path: Path) -> None:
    chat = CountedChat("c").counts_nothing()
    chat.user("My cat?").answer("One two three four five six seven eight nine ten eleven twelve.")
    chat.user("And?").answer("Thirteen.")

    ((entry,), _) = collected(tmp_path, chat, unit="trajectory", server=words)
    assert "server" == entry.tokens_from
    assert (entry.n_trained or 0) > 12
    assert entry.learned[0].n_trained > entry.learned[1].n_trained


def test_reasoning_that_is_left_out_is_counted_by_the_server_that_is_asked(words: ServerTokens, tmp_path: Path) -> None:
    chat = CountedChat("c").counts(100, 900)
    chat.user("Two and two?").answer("Four or so.", reasoning_content=THOUGHTS)

    ((entry,), _) = collected(tmp_path, chat, server=words)
    assert ("server", True) == (entry.tokens_from, (entry.n_tokens or 0) < 20)
