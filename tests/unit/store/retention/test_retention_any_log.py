"""Any log without some of its conversations is what it would be had these never been there."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarx_toollog.store.retention.dialogues import remove_conversations
from tarx_toollog.store.retention.gc import collect, would_collect
from tarx_toollog.store.schema import conversation
from tests.support.any_logs import Dialogue, dialogues, play
from tests.unit.cli.samples import write_log
from tests.unit.store.retention.logs import Heard, care, columns, problems, said


@settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(dialogues(), min_size=1, max_size=4), st.data())
def test_what_stays_is_what_a_log_without_the_rest_would_hold(log: list[Dialogue], data: st.DataObject) -> None:
    drawn = data.draw(st.sets(st.integers(0, len(log) - 1)), label="those that go")
    twice = data.draw(st.booleans(), label="the first one is held again, by another client")
    held = [*log, log[0]] if twice else log
    chats = [play(dialogue, f"chat {number}", number * 100)[0] for number, dialogue in enumerate(held)]
    with tempfile.TemporaryDirectory() as name:
        whole, rest = Path(name) / "whole.db", Path(name) / "rest.db"
        write_log(whole, *chats)
        write_log(rest, *(chat for number, chat in enumerate(chats) if number not in drawn))
        with care(whole) as place:
            keys = [key for number, (key,) in enumerate(columns(place, conversation.c.id)) if number in drawn]
            with place.writer.begin() as connection:
                gone = remove_conversations(connection, keys)
            promised = would_collect(place).rows
            assert promised == collect(place, Heard()).rows
            assert len(drawn) == gone["conversation"]
            assert [] == problems(place)
            assert {} == would_collect(place).rows
        assert said(rest) == said(whole)
