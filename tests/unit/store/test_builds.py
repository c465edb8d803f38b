"""Builds in the store: which one an exchange gets, what a later probe puts right, and what people see of it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.model import EPOCH, Exchange
from tarx_toollog.store import builds
from tarx_toollog.store.builds import (
    NEAR,
    STRETCH,
    Known,
    Place,
    Probed,
    Sighting,
    attribute,
    build_of,
    write_build,
    write_probe,
)
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import exchange as exchange_table
from tarx_toollog.store.schema.builds import model_build, model_sighting
from tarx_toollog.wire.model_facts import Adapter, ModelFacts
from tests.support.builders import START_NS, assistant, exchange, user

URL = "http://127.0.0.1:11435"
PLACE = Place(URL, "m-q4")
START = EPOCH + timedelta(microseconds=START_NS // 1000)
BASE = ModelFacts(
    server="llama.cpp",
    server_version="b1",
    model="m-q4",
    n_params=2**40,
    quantization="Q4_K_M",
    quantization_raw="Q4_K - Medium",
    file_name="base.gguf",
    size=2**33,
    n_ctx=8192,
    chat_template_hash="01" * 17,
)
TUNED = replace(BASE, file_name="tuned.gguf", lora=(Adapter("v2.gguf", 0.5),))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def answered(log: ToolLog, at_s: float, **options: Any) -> int:
    """Write an exchange that began ``at_s`` seconds after the start of the test's time; return its key."""
    settings: dict[str, Any] = {"upstream": URL, "at_s": at_s, **options}
    return log.write([exchange([user(f"at {at_s}")], assistant("yes"), **settings)])[0]


def probe(log: ToolLog, facts: ModelFacts | None, at_s: float, place: Place = PLACE, **options: Any) -> int | None:
    probed = Probed(place, facts, None if facts else "away", START + timedelta(seconds=at_s), **options)
    with log.engine.begin() as connection:
        return write_probe(connection, probed)


def files(log: ToolLog) -> dict[int, str | None]:
    """Return the model file of every exchange."""
    query = (
        sa.select(exchange_table.c.id, model_build.c.file_name)
        .select_from(
            exchange_table.outerjoin(model_build, model_build.c.id == exchange_table.c.model_build_id),
        )
        .order_by(exchange_table.c.id)
    )
    with log.engine.connect() as connection:
        return {row.id: row.file_name for row in connection.execute(query)}


def at(log: ToolLog, at_s: float, place: Place = PLACE) -> Known | None:
    with log.engine.connect() as connection:
        return build_of(connection, place, START + timedelta(seconds=at_s))


# ---- what a probe writes --------------------------------------------------------------------------------------------


def test_a_build_is_one_row_however_often_and_wherever_it_is_seen(log: ToolLog) -> None:
    first = probe(log, TUNED, 0)
    assert first == probe(log, TUNED, 60) == probe(log, TUNED, 30, Place("http://other:1", "m-q4"))

    (row,) = builds.builds(log.engine)
    assert {
        "name": "tuned.gguf + v2.gguf × 0.5",
        "label": None,
        "server": "llama.cpp",
        "server_version": "b1",
        "model": "m-q4",
        "family": None,
        "n_params": 2**40,
        "quantization": "Q4_K_M",
        "quantization_raw": "Q4_K - Medium",
        "file_name": "tuned.gguf",
        "file_digest": None,
        "size": 2**33,
        "n_ctx": 8192,
        "n_ctx_train": None,
        "chat_template_hash": "01" * 17,
        "lora": [{"file": "v2.gguf", "scale": 0.5}],
        "upstream": URL,
        "first_seen_at": START,
        "last_seen_at": START + timedelta(seconds=60),
        "n_exchanges": 0,
        "n_tool_calls": 0,
    } == {name: value for name, value in row.items() if name != "build_uid"}
    assert 2 == len(builds.build_detail(log.engine, row["build_uid"])["sightings"])


def test_each_build_has_a_name_of_its_own(log: ToolLog) -> None:
    bare = replace(TUNED, lora=())
    for facts in (bare, replace(bare, n_ctx=1), replace(bare, n_ctx=2), replace(bare, file_name="tuned.gguf (2)")):
        probe(log, facts, 0)
    probe(log, ModelFacts(model="served"), 0)

    names = ["tuned.gguf", "tuned.gguf (2)", "tuned.gguf (3)", "tuned.gguf (2) (2)", "served"]
    assert sorted(names) == sorted(row["name"] for row in builds.builds(log.engine))


def test_a_request_that_chooses_its_adapters_is_of_no_build_that_a_probe_saw(log: ToolLog) -> None:
    chosen: dict[str, Any] = {"params": {"lora": [{"id": 0, "scale": 0.0}]}}
    before = [answered(log, 0), answered(log, 1, **chosen)]
    probe(log, TUNED, 2)
    after = [answered(log, 3), answered(log, 4, **chosen)]

    assert ["tuned.gguf", None] * 2 == [files(log)[key] for key in (*before, *after)]


def test_a_probe_that_found_nothing_changes_nothing(log: ToolLog) -> None:
    key = answered(log, 0)
    assert probe(log, None, 1) is None
    assert [] == builds.builds(log.engine)
    assert {key: None} == files(log)


def test_probes_that_agree_make_one_period_and_a_long_pause_makes_another(log: ToolLog) -> None:
    for at_s in (0, 120, 240, 240 + STRETCH.total_seconds() + 1):
        probe(log, BASE, at_s)
    with log.engine.connect() as connection:
        rows = connection.execute(sa.select(model_sighting).order_by(model_sighting.c.id)).all()

    assert [(0, 240), (841, 841)] == [
        ((row.from_at - START).total_seconds(), (row.to_at - START).total_seconds()) for row in rows
    ]


def test_the_context_of_a_model_that_was_just_unloaded_is_still_its_context(log: ToolLog) -> None:
    unloaded = replace(BASE, n_ctx=None)
    first = probe(log, BASE, 0)

    assert first == probe(log, unloaded, 120)
    assert first != probe(log, replace(unloaded, file_name="other.gguf"), 240)


# ---- which build an exchange gets -----------------------------------------------------------------------------------

OLD, NEW = Known(1, 4096), Known(2, 8192)
MINUTES = [
    # sightings as (build, from, to), the moment, the build it gets
    ([], 0, None),
    ([(OLD, 0, 10)], 0, OLD),
    ([(OLD, 0, 10)], 5, OLD),
    ([(OLD, 0, 10)], 15, OLD),
    ([(OLD, 0, 10)], 15.1, None),
    ([(OLD, 10, 20)], 5, OLD),
    ([(OLD, 10, 20)], 4.9, None),
    ([(OLD, 0, 10), (NEW, 12, 20)], 10, OLD),
    ([(OLD, 0, 10), (NEW, 12, 20)], 11, None),
    ([(OLD, 0, 10), (NEW, 12, 20)], 12, NEW),
    ([(OLD, 0, 10), (OLD, 12, 20)], 11, OLD),
    ([(OLD, 0, 10), (NEW, 30, 40)], 14, OLD),
    ([(OLD, 0, 10), (NEW, 30, 40)], 20, None),
    ([(OLD, 0, 10), (NEW, 30, 40)], 26, NEW),
    ([(OLD, 0, 10), (NEW, 12, 20), (OLD, 22, 30)], 15, NEW),
    ([(OLD, 0, 10), (NEW, 12, 20), (OLD, 22, 30)], 21, None),
]


@pytest.mark.parametrize(("periods", "minute", "expected"), MINUTES)
def test_the_periods_around_a_moment_decide(
    periods: list[tuple[Known, float, float]], minute: float, expected: Known | None
) -> None:
    def moment(minutes: float) -> Any:
        return START + timedelta(minutes=minutes)

    sightings = [Sighting(build, moment(begin), moment(end)) for build, begin, end in periods]

    assert timedelta(minutes=5) == NEAR
    assert expected == attribute(sightings, moment(minute))


def test_an_exchange_before_the_first_probe_gets_its_build_when_the_answer_comes(log: ToolLog) -> None:
    before, long_before = answered(log, 299), answered(log, -1)
    probe(log, BASE, 300)

    assert {before: "base.gguf", long_before: None} == files(log)
    with log.engine.connect() as connection:
        rows = connection.execute(sa.select(exchange_table.c.id, exchange_table.c.ctx_limit))
        limits = {row.id: row.ctx_limit for row in rows}
    assert {before: 8192, long_before: None} == limits


def test_after_a_probe_exchanges_get_its_build_until_it_is_too_long_ago(log: ToolLog) -> None:
    key = probe(log, BASE, 0)

    assert Known(key or 0, 8192) == at(log, 0) == at(log, 300)
    assert at(log, 301) is None
    assert at(log, 10, Place(URL, "another")) is None
    assert at(log, 10, Place("http://other:1", "m-q4")) is None


def test_a_probe_that_finds_another_build_takes_back_what_was_given_too_soon(log: ToolLog) -> None:
    first = probe(log, BASE, 0)
    keys = [answered(log, at_s) for at_s in (-10, 60, 110)]
    with log.engine.begin() as connection:  # as the writer does it
        connection.execute(sa.update(exchange_table).values(model_build_id=first, ctx_limit=8192))
    probe(log, TUNED, 120)
    later = answered(log, 121)
    probe(log, TUNED, 240)

    # Whether the server was started anew before or after the second and the third nobody knows.
    assert dict(zip([*keys, later], ["base.gguf", None, None, "tuned.gguf"], strict=True)) == files(log)


def test_what_another_process_gave_on_an_old_probe_is_put_right(log: ToolLog) -> None:
    first, second = probe(log, BASE, 0), probe(log, TUNED, 60)
    key = answered(log, 90)
    with log.engine.begin() as connection:
        connection.execute(sa.update(exchange_table).values(model_build_id=first))
    assert second == probe(log, TUNED, 120)

    assert {key: "tuned.gguf"} == files(log)


def test_a_probe_that_another_process_writes_late_counts_from_when_it_was(log: ToolLog) -> None:
    probe(log, BASE, 100)
    probe(log, BASE, 20)
    probe(log, TUNED, 50)
    keys = [answered(log, at_s) for at_s in (45, 70, 100)]
    probe(log, BASE, 130)

    assert dict(zip(keys, ["tuned.gguf", None, "base.gguf"], strict=True)) == files(log)


def test_where_a_tap_did_not_know_its_server_the_assumed_one_counts_only_if_it_was_assumed(log: ToolLog) -> None:
    key = answered(log, 0, upstream=None)
    probe(log, BASE, 1)
    assert {key: None} == files(log)
    probe(log, BASE, 2, is_assumed=True)
    assert {key: "base.gguf"} == files(log)


def test_an_exchange_that_the_server_never_answered_gets_no_build(log: ToolLog) -> None:
    running = answered(log, 0, end=False, open_ended=True)
    gone = answered(log, 0, status=502, body={"error": {"message": "away"}})
    with log.engine.begin() as connection:
        connection.execute(
            sa.update(exchange_table).where(exchange_table.c.id == gone).values(outcome="proxy_error", http_status=502)
        )
    probe(log, BASE, 1, Place(URL, "m"))

    assert {running: None, gone: None} == files(log)


def test_the_limit_that_the_server_named_itself_stays_when_the_build_is_taken_back(log: ToolLog) -> None:
    first = probe(log, BASE, 0)
    answered(log, 60)
    with log.engine.begin() as connection:
        given = {"model_build_id": first, "ctx_limit": 4096, "truncation": "reported"}
        connection.execute(sa.update(exchange_table).values(given))
    probe(log, TUNED, 120)

    with log.engine.connect() as connection:
        row = connection.execute(sa.select(exchange_table)).one()
    assert (None, 4096) == (row.model_build_id, row.ctx_limit)


def test_an_answer_without_a_model_name_goes_by_the_name_in_the_request(log: ToolLog) -> None:
    key = answered(log, 0, status=400, body={"error": {"message": "too long"}})
    probe(log, BASE, 1, Place(URL, "m"))

    assert {key: "base.gguf"} == files(log)


def test_a_login_in_a_url_is_not_kept() -> None:
    assert Place("http://127.0.0.1:1", "m") == Place.of("http://ann:p@ss@127.0.0.1:1", "m")
    assert Place("http://127.0.0.1:1/@v1", "") == Place.of("http://127.0.0.1:1/@v1", None)


# ---- for people -----------------------------------------------------------------------------------------------------


def test_the_list_counts_what_each_build_answered_the_latest_seen_first(log: ToolLog) -> None:
    answered(log, 0)
    answered(log, 1)
    probe(log, BASE, 2)
    probe(log, TUNED, 1000)
    answered(log, 1000)
    probe(log, TUNED, 1001)

    assert [("tuned.gguf", 1), ("base.gguf", 2)] == [
        (row["file_name"], row["n_exchanges"]) for row in builds.builds(log.engine)
    ]


def test_a_label_names_builds_and_finds_them(log: ToolLog) -> None:
    probe(log, BASE, 0)
    probe(log, TUNED, 1000)
    tuned, base = (row["build_uid"] for row in builds.builds(log.engine))
    builds.set_label(log.settings, base, "base")

    assert "base.gguf" == builds.build_detail(log.engine, "base")["file_name"]
    assert "tuned.gguf" == builds.build_detail(log.engine, tuned)["file_name"]
    assert base == builds.build_detail(log.engine, base[:30])["build_uid"]

    builds.set_label(log.settings, tuned, "base")
    with pytest.raises(ConfigError, match="fits 2 builds"):
        builds.build_detail(log.engine, "base")
    builds.set_label(log.settings, tuned, None)
    assert builds.build_detail(log.engine, tuned)["label"] is None


@pytest.mark.parametrize("name", ["", "nothing", "%"])
def test_a_name_that_fits_no_build_is_an_error_that_says_where_to_look(log: ToolLog, name: str) -> None:
    probe(log, BASE, 0)
    with pytest.raises(NothingMatchedError) as caught:
        builds.build_detail(log.engine, name)
    assert "builds list" in caught.value.hint


def test_facts_of_any_content_are_kept(log: ToolLog) -> None:
    hostile = ModelFacts(model="\ud800\0'; DROP", family="\u202e", lora=(Adapter("\0.gguf", -1e308),))
    with log.engine.begin() as connection:
        key = write_build(connection, hostile, URL, START)
        assert key == write_build(connection, hostile, URL, START)
        found = connection.execute(sa.select(model_build)).one()

    assert (hostile.model, [{"file": "\0.gguf", "scale": -1e308}]) == (found.model, found.lora)


def test_a_replay_keeps_the_build_that_it_was_given(log: ToolLog) -> None:
    item: Exchange = exchange([user("again")], assistant("yes"), upstream=URL)
    key = log.write([item])[0]
    with log.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO run (id, uid, name, tag, model, endpoint, mode, params, status, started_at) "
                "VALUES (1, 'r', 'r', 't', 'm', 'e', 'teacher_forced', '{}', 'running', '2026-01-01')"
            )
        )
        connection.execute(sa.update(exchange_table).values(run_id=1))
    probe(log, BASE, 1)

    assert {key: None} == files(log)
