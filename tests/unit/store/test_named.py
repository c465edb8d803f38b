"""What an id means, and that it is looked up in an index however it is asked for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.conversation_trace import conversation_trace
from tarx_toollog.store.dataset_queries import why
from tarx_toollog.store.datasets import Datasets, NewBuild
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.label_target import LabelTargets
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.named import begins_with
from tarx_toollog.store.schema import exchange
from tests.support.analyst_log import write_analyst_log

FIRST = "00000000-0000-7000-8000-000001000000"
SECOND = "00000000-0000-7000-8000-000001000001"
ALONE = "00000000-0000-7000-8000-000007"
"""The beginning of the only exchange of a conversation."""
TALK = Filters.parse(conversation="talk-1")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    """Yield a log with a build of training data."""
    path = tmp_path_factory.mktemp("named") / "t.db"
    write_analyst_log(path)
    with ToolLog.open(path, read_only=False) as log:
        datasets = Datasets(log)
        made = datasets.start(NewBuild(None, None, "sft", "step", ("mlx",), {}, 0))
        datasets.finish(made.id, {}, [])
        yield log


def like_a_language(one: str, other: str) -> int:
    """Compare as PostgreSQL does in most languages: hyphens count only where nothing else differs."""
    first, second = ((text.replace("-", ""), text) for text in (one, other))
    return (first > second) - (first < second)


@pytest.mark.parametrize("order", ["of bytes", "of a language"])
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("", 4),
        ("0199A", 2),
        ("0199a3B", 1),
        ("0199a3b4-", 1),
        ("0199-a", 0),  # in the order of a language, that stands between the others
        ("0199a3b4-0000-7000-8000-000000000001", 1),
        ("0199a3b4-0000-7000-8000-0000000000011", 0),
        ("0199%", 0),
        ("0199_3", 0),
        ("f", 1),
        ("g", 0),
    ],
)
def test_an_id_is_meant_by_its_beginning_and_capitals_mean_small_letters(start: str, expected: int, order: str) -> None:
    collation = "BINARY" if order == "of bytes" else "language"
    table = sa.Table("t", sa.MetaData(), sa.Column("uid", sa.String(collation=collation), unique=True))
    uids = ("01990000", "0199a000-0", "0199a3b4-0000-7000-8000-000000000001", "ffffffff")
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.create_collation("language", like_a_language)
        table.create(connection)
        connection.execute(table.insert(), [{"uid": uid} for uid in uids])
        found = connection.scalars(sa.select(table.c.uid).where(begins_with(table.c.uid, start))).all()
    engine.dispose()
    assert [uid for uid in uids if uid.startswith(start.lower())] == sorted(found)
    assert expected == len(found)


def test_all_of_an_id_is_that_one_though_others_begin_so(log: ToolLog) -> None:
    longer = f"{FIRST}0"
    with log.engine.begin() as connection:
        connection.execute(sa.update(exchange).where(exchange.c.uid == SECOND).values(uid=longer))
    try:
        assert FIRST == log.exchange(FIRST).uid
        assert FIRST == queries.exchange_detail(log.engine, FIRST).facts["uid"]
        assert FIRST == Labels(log).target(FIRST).uid
        with pytest.raises(NothingMatchedError, match="several exchanges begin"):
            log.exchange(FIRST[:-1])
        with pytest.raises(ConfigError, match="fits 5 exchanges"):
            queries.exchange_detail(log.engine, FIRST[:-1])
    finally:
        with log.engine.begin() as connection:
            connection.execute(sa.update(exchange).where(exchange.c.uid == longer).values(uid=SECOND))


def traced(log: ToolLog) -> Any:
    with log.engine.connect() as connection:
        return conversation_trace(connection, "talk-2")


ASKED: dict[str, Callable[[ToolLog], Any]] = {
    "an exchange, read": lambda log: log.exchange(FIRST),
    "an exchange, told": lambda log: queries.exchange_detail(log.engine, ALONE),
    "a conversation by our id": lambda log: queries.conversation_detail(log.engine, "talk-1"),
    "a page of a conversation": traced,
    "a target to label": lambda log: Labels(log).target(f"{ALONE}.0.0"),
    "a conversation to label": lambda log: LabelTargets(log).conversation("talk-3"),
    "an exchange in builds": lambda log: why(log.engine, FIRST),
    "turns of a conversation": lambda log: list(log.trajectories(TALK)),
    "exchanges of a conversation": lambda log: list(queries.exchanges(log.engine, TALK)),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_an_id_is_looked_up_in_an_index(log: ToolLog, ask: Callable[[ToolLog], Any]) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    sa.event.listen(log.engine, "before_cursor_execute", note)
    try:
        assert ask(log)
    finally:
        sa.event.remove(log.engine, "before_cursor_execute", note)
    plans: list[str] = []
    with log.engine.connect() as connection:
        for statement, parameters in asked:
            if statement.startswith(("SELECT", "WITH")):
                plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any("INDEX" in step for step in plans)
    assert [] == [step for step in plans if step.startswith(("SCAN exchange", "SCAN conversation"))]
