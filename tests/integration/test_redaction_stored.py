"""Redaction of what is stored: nothing is left of a value, and everything else is as if it had never been there."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.model import Exchange
from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.store import schema
from tarx_toollog.store.engine import writer_engine
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.redact import StoreRedaction, look
from tarx_toollog.store.redact_columns import SOURCES
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.store.suites import suite_hash
from tarx_toollog.store.types import JsonText, SafeText
from tarx_toollog.store.verify import verify
from tarx_toollog.store.writer import RawBodies, Writer
from tarx_toollog.wire.decode import decode
from tests.support.builders import TOOLS, assistant, call, exchange, raw_exchange, user
from tests.support.redaction import (
    API_KEY,
    DB,
    MAIL,
    SECRETS,
    WIFI,
    apply,
    content_of,
    dialogue,
    failed,
    fill,
    plain,
    read_all,
    run,
    scenario_hash,
    stored_bytes,
)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)  # a toollog.toml of the person who runs the tests must not be read
    return Settings(database=str(tmp_path / "t.db"))


@pytest.fixture
def redactor(settings: Settings) -> Redactor:
    return Redactor(Policy.load("all"), load_secret(settings))


def test_after_applying_the_store_is_what_it_would_be_had_the_writer_redacted(
    settings: Settings, redactor: Redactor, tmp_path: Path
) -> None:
    exchanges = [*dialogue(), plain(), failed()]
    fill(settings, exchanges)
    redacted_before = Settings(database=str(tmp_path / "other" / "t.db"))
    fill(redacted_before, [redactor.exchange(item)[0] for item in exchanges])

    apply(settings, redactor)

    assert content_of(redacted_before) == content_of(settings)
    assert [redactor.exchange(item)[0] for item in exchanges] == read_all(settings, exchanges)


def test_no_byte_of_a_value_is_left_in_database_and_write_ahead_log(settings: Settings, redactor: Redactor) -> None:
    long = exchange([user(f"{API_KEY} " + "and so on " * 50_000)], assistant("ok"), at_s=300, client_key="c4")
    fill(settings, [*dialogue(), plain(), failed(), long])
    # Somebody has the file open: else closing it would delete the log, whatever we do.
    reader = sqlite3.connect(settings.database)
    reader.execute("SELECT count(*) FROM exchange").fetchone()
    fill(settings, [exchange([user(f"and {API_KEY}")], assistant("ok"), at_s=400, client_key="c5")])
    before = stored_bytes(settings)

    apply(settings, redactor)

    after = stored_bytes(settings)
    assert [True] * 4 == [secret.encode() in before for secret in (*SECRETS, MAIL)]
    assert [False] * 4 == [secret.encode() in after for secret in (*SECRETS, MAIL)]
    assert 0 == Path(f"{settings.database}-wal").stat().st_size
    assert (0,) == reader.execute("PRAGMA freelist_count").fetchone()  # pages that keep what was deleted
    reader.close()


def test_a_program_that_keeps_old_pages_in_use_is_told_of(settings: Settings, redactor: Redactor) -> None:
    fill(settings, dialogue())
    reader = sqlite3.connect(settings.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM exchange").fetchone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tarx_toollog.store.engine.BUSY_TIMEOUT_S", 0.1)
        with pytest.raises(StoreError, match="keeps the old pages of the file in use"):
            apply(settings, redactor)
    reader.close()
    apply(settings, redactor)

    assert not any(secret.encode() in stored_bytes(settings) for secret in SECRETS)


def test_the_rows_and_references_are_sound_after_applying(settings: Settings, redactor: Redactor) -> None:
    fill(settings, [*dialogue(), plain(), failed()])
    apply(settings, redactor)

    with ToolLog.open(settings=settings) as log:
        assert [] == verify(log.engine, scenario_hash).problems


def test_a_later_request_of_a_redacted_conversation_still_links(settings: Settings, redactor: Redactor) -> None:
    first, second, third = dialogue()
    fill(settings, [first, second])
    apply(settings, redactor)

    fill(settings, [redactor.exchange(third)[0]])

    with ToolLog.open(settings=settings) as log:
        rows = list(log.query("SELECT conversation_how, turn_no, conversation_id FROM exchange ORDER BY id").rows)
    assert ("prefix", 2, 1) == rows[2]


def kept_by_the_server(text: str, answer: str, response_id: str, previous: str | None, at_s: float) -> Exchange:
    """Return an exchange of OpenAI Responses: the server keeps the history, the request names the answer before."""
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]}
    body = {"id": response_id, "object": "response", "status": "completed", "model": "m", "output": [said]}
    raw = raw_exchange([], None, body=body, path="/v1/responses", at_s=at_s)
    request = {"model": "m", "input": text} | ({"previous_response_id": previous} if previous else {})
    return decode(replace(raw, request_body=json.dumps(request).encode()))


def test_what_continues_a_history_that_the_server_keeps_still_links(
    settings: Settings, redactor: Redactor, tmp_path: Path
) -> None:
    exchanges = [
        kept_by_the_server(f"My key is {API_KEY}", "Noted.", "resp_1", None, 0),
        kept_by_the_server("Thanks", "Welcome.", "resp_2", "resp_1", 2),
        kept_by_the_server("And?", "Nothing.", "resp_3", "resp_2", 4),
    ]
    fill(settings, exchanges)
    before = content_of(settings)["exchange"]
    redacted_before = Settings(database=str(tmp_path / "other" / "t.db"))
    fill(redacted_before, [redactor.exchange(item)[0] for item in exchanges])

    apply(settings, redactor)

    after = content_of(settings)
    assert content_of(redacted_before) == after
    assert not set(before) & set(after["exchange"])  # the second and third mean something else, too


def test_messages_that_become_equal_are_merged(settings: Settings, redactor: Redactor) -> None:
    # One client wrote the mark itself, because it had seen it in an export.
    mark = redactor.text(f"key {API_KEY}")[0]
    fill(settings, [exchange([user(mark)], assistant("ok")), exchange([user(f"key {API_KEY}")], assistant("ok"))])

    apply(settings, redactor)

    with ToolLog.open(settings=settings) as log:
        assert [(2,)] == list(log.query("SELECT count(*) FROM message").rows)
        assert [(2,)] == list(log.query("SELECT count(*) FROM node").rows)
        assert [(1,)] == list(log.query("SELECT count(DISTINCT input_node_id) FROM exchange").rows)


def test_applying_twice_finds_nothing_the_second_time(settings: Settings, redactor: Redactor) -> None:
    fill(settings, [*dialogue(), failed()])

    first = apply(settings, redactor)
    second = apply(settings, redactor)

    assert {"openai_key", "secret_field", "email", "url_password"} <= set(first.rules)
    assert {} == second.rules


def test_what_is_taken_out_is_noted_with_its_mark(settings: Settings, redactor: Redactor) -> None:
    fill(settings, dialogue())
    apply(settings, redactor)
    mark = redactor.text(API_KEY)[1][0].mark

    with ToolLog.open(settings=settings) as log:
        paths = {row[0] for row in log.query(f"SELECT path FROM redaction WHERE mark = '{mark}'").rows}
        rows = list(log.query("SELECT DISTINCT policy FROM redaction UNION SELECT redaction_policy FROM exchange").rows)
    assert {"message", "tool_definition"} == {path.split("[")[0] for path in paths}
    assert [(redactor.policy_id,)] == rows


def test_verdicts_about_the_arguments_stay_as_they_were(settings: Settings, redactor: Redactor) -> None:
    strict = json.loads(json.dumps(TOOLS))
    strict[1]["function"]["parameters"]["properties"]["value"] = {"type": "string", "maxLength": 12}
    answer = assistant(None, call("tarx_remember", {"key": "wifi password", "value": WIFI}, "c-1"))
    fill(settings, [exchange([user("remember")], answer, tools=strict)])

    apply(settings, redactor)

    with ToolLog.open(settings=settings) as log:
        ((state, verdict, arguments),) = log.query("SELECT argument_state, schema_state, arguments FROM tool_call").rows
    assert ("ok", "ok") == (state, verdict)
    assert "⟦SECRET:" in json.loads(arguments)["value"]


def test_raw_bodies_are_redacted_and_stay_json(settings: Settings, redactor: Redactor) -> None:
    raw = raw_exchange([user(f"pw is in {API_KEY}")], assistant(f"got {API_KEY}"))
    body = b"".join(chunk.data for chunk in raw.chunks)
    with ToolLog.open(settings=settings, read_only=False) as log, log.engine.begin() as connection:
        writer = Writer()
        writer.write(connection, decode(raw), RawBodies(raw.request_body, body))
        writer.settle(connection)

    apply(settings, redactor)

    with ToolLog.open(settings=settings) as log:
        kept = [json.loads(row[0]) for row in log.query("SELECT data FROM raw_body ORDER BY id").rows]
    mark = redactor.text(API_KEY)[0]
    assert [f"pw is in {mark}", f"got {mark}"] == [
        kept[0]["messages"][0]["content"],
        kept[1]["choices"][0]["message"]["content"],
    ]


def test_labels_and_gaps_are_redacted(settings: Settings, redactor: Redactor) -> None:
    fill(settings, [plain()])
    now = "2026-05-31 10:00:00.000000"
    with sqlite3.connect(settings.database) as connection:
        connection.execute(
            "INSERT INTO label (target_type, target_uid, name, comment, correction, annotator_kind, annotator,"
            " created_at) VALUES ('exchange', 'u', 'quality', ?, ?, 'human', 'me', ?)",
            (f"leaks {API_KEY}", json.dumps({"arguments": {"password": DB}}), now),
        )
        connection.execute(
            "INSERT INTO gap (kind, from_at, to_at, n, detail) VALUES ('torn', ?, ?, 1, ?)", (now, now, f"at {API_KEY}")
        )
    connection.close()

    apply(settings, redactor)

    assert not any(secret.encode() in stored_bytes(settings) for secret in SECRETS)
    with ToolLog.open(settings=settings) as log:
        ((correction,),) = log.query("SELECT correction FROM label").rows
    assert {"arguments": {"password": redactor.value({"password": DB})[0]["password"]}} == json.loads(correction)


def spoken_badly() -> Exchange:
    """An exchange whose server puts a key wherever it can: type of the error, ends of two answers, and its route."""
    answers = [{"index": i, "message": assistant("ok"), "finish_reason": API_KEY} for i in range(2)]
    body = {"choices": answers, "error": {"type": API_KEY, "message": "x"}}
    item = exchange([user("hi")], None, status=401, body=body, at_s=500, client_key="c6")
    return replace(item, route=f"/bot/{API_KEY}/v1/chat/completions")


def test_every_column_that_a_server_can_write_to_is_redacted(
    settings: Settings, redactor: Redactor, tmp_path: Path
) -> None:
    item = spoken_badly()
    fill(settings, [item])
    redacted_before = Settings(database=str(tmp_path / "other" / "t.db"))
    fill(redacted_before, [redactor.exchange(item)[0]])
    with sqlite3.connect(settings.database) as connection:
        connection.execute(
            "INSERT INTO tool_execution (uid, started_at, exec_ms, is_error, error_type, error_text, source)"
            " VALUES ('u', '2026-05-31 10:00:00.000000', 1, 1, ?, 'x', 'context')",
            (f"Refused {API_KEY}",),
        )
    connection.close()
    assert 2 <= stored_bytes(settings).count(API_KEY.encode())

    apply(settings, redactor)

    assert API_KEY.encode() not in stored_bytes(settings)
    assert content_of(redacted_before) == content_of(settings)
    columns = "SELECT error_type, route, finish_reason FROM exchange"
    with ToolLog.open(settings=settings) as log, ToolLog.open(settings=redacted_before) as other:
        assert list(other.query(columns).rows) == list(log.query(columns).rows)
        assert {redactor.text(API_KEY)[0]} == {row[0] for row in log.query("SELECT finish_reason FROM choice").rows}


TEXT_LEFT_ALONE = {
    # Keys, ids, names and digests: they link and count, or are words of ours.
    "exchange": "uid leg protocol method outcome conversation_how assistant_echo layout request_model response_model "
    "response_id usage_source budget_source truncation redaction_policy client_key client_kind",
    "choice": "",
    "tool_call": "call_id id_state name argument_state schema_state origin quirks",
    "tool_result": "text call_id name match_how error_how",  # text is written again with its message
    "tool_execution": "uid call_id name source",
    "run": "uid name tag model mode status",
    "trial": "status",
    "score": "scorer",
    "scenario": "uid tag conversation_uid signature tier stratum cluster",
    "suite": "uid name",
    "work_unit": "worker",
    "label": "target_type target_uid name annotator_kind annotator",
    "gap": "kind",
    "writer": "uid host version",
    # What a build chose and wrote; the texts of its examples are in its files, which are nobody's but their owner's.
    "dataset_build": "uid name status task unit formats config config_hash counts files version",
    "dataset_example": "origin source split tokens_from reason",
    # A server's own: to change a character of it would make it another one.
    "chat_template": "hash syntax text tool_text bos_token eos_token",
    "conversation": "uid source external_id client_key split",
}


@pytest.mark.parametrize("name", TEXT_LEFT_ALONE)
def test_every_text_column_is_searched_or_left_alone_on_purpose(name: str) -> None:
    table = schema.metadata.tables[name]
    texts = {c.name for c in table.columns if isinstance(c.type, (sa.String, SafeText, JsonText))}
    searched = {column.name for source in SOURCES if source.table is table for column in source.columns}

    assert texts == searched | set(TEXT_LEFT_ALONE[name].split())
    assert not searched & set(TEXT_LEFT_ALONE[name].split())


def test_scenarios_keep_a_hash_that_fits_their_definition(settings: Settings, redactor: Redactor) -> None:
    fill(settings, dialogue()[:2])
    splits = [part for split in SPLITS for part in ("--split", split)]
    run(settings, "replay", "build", "--tag", "t", *splits).check_ok()

    apply(settings, redactor)

    with ToolLog.open(settings=settings) as log:
        rows = list(log.query("SELECT hash, definition FROM scenario").rows)
        (suite,) = log.query("SELECT hash, made FROM suite").rows
        counted = log.query("SELECT hash, weight, stratum, cluster FROM scenario").rows
        assert suite[0] == suite_hash(SimpleNamespace(hash=h, weight=w, stratum=s, cluster=c) for h, w, s, c in counted)
    assert not any(secret in suite[1] for secret in (*SECRETS, MAIL))
    assert len(rows) == 1
    assert rows[0][0] == scenario_hash(json.loads(rows[0][1]))
    assert not any(secret in rows[0][1] for secret in (*SECRETS, MAIL))


def crash(*_: object) -> None:
    raise KeyboardInterrupt


def test_after_a_crash_the_command_goes_on_where_it_was(settings: Settings, redactor: Redactor, tmp_path: Path) -> None:
    exchanges = [*dialogue(), plain(), failed()]
    fill(settings, exchanges)
    whole = Settings(database=str(tmp_path / "whole" / "t.db"))
    fill(whole, exchanges)
    engine = writer_engine(settings)
    work = StoreRedaction(engine, settings, redactor, scenario_hash)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "_delete", crash)
        with pytest.raises(KeyboardInterrupt):
            work.apply(examples=0, progress=lambda n: None)
    engine.dispose()

    apply(settings, redactor)
    apply(whole, redactor)

    assert content_of(whole) == content_of(settings)


def test_a_recording_process_is_not_disturbed(settings: Settings, redactor: Redactor) -> None:
    fill(settings, dialogue())
    journal = Journal(settings.journal_path, "019a0000-0000-7000-8000-000000000001")
    with sqlite3.connect(settings.database) as connection:
        connection.execute(
            "INSERT INTO writer (uid, host, pid, version, started_at) VALUES (?, 'h', 77, '0', '2026-05-31 10:00:00')",
            (journal.writer_uid,),
        )
    connection.close()

    with pytest.raises(StoreError, match="process 77 is recording"):
        apply(settings, redactor)
    journal.close()

    assert {"openai_key"} <= set(apply(settings, redactor).rules)


def test_looking_changes_nothing_and_counts_what_applying_takes_out(settings: Settings, redactor: Redactor) -> None:
    fill(settings, [*dialogue(), failed()])
    before = content_of(settings)

    with ToolLog.open(settings=settings) as log, log.engine.connect() as connection:
        seen = look(connection, redactor, examples=2, progress=lambda n: None)
    assert before == content_of(settings)
    applied = apply(settings, redactor)

    assert {rule: row.hits for rule, row in applied.rules.items()} == {r: row.hits for r, row in seen.rules.items()}
    assert (seen.rows, seen.rows_with_hits) == (applied.rows, applied.rows_with_hits)
