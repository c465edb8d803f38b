import csv
import io
import json
from pathlib import Path

import pytest

from tarx_toollog.store.answers import queries
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import Chat, bad_chat, call, good_chat, rows, run, write_log


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a log of two chats; it is the one that the command line finds."""
    path = tmp_path / "log.db"
    write_log(path, good_chat(), bad_chat())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    monkeypatch.setenv("TOOLLOG_UPSTREAM", "http://127.0.0.1:9")
    return path


# ---- status ---------------------------------------------------------------------------------------------------------


def test_status_shows_figures_and_the_next_command(database: Path) -> None:
    result = run("status")

    assert result.exit_code == 0
    assert f"database       {database} (" in result.stdout
    assert "exchanges      9 (1 not completed, 0 open)\n" in result.stdout
    assert "tool calls     5 (0 unanswered)\n" in result.stdout
    assert "conversations  2\n" in result.stdout
    assert result.stdout.endswith("next           toollog tools list\n")


def test_status_as_json_has_every_figure(database: Path) -> None:
    figures = json.loads(run("status", "--json").stdout)

    assert {"exchanges": 9, "tool_calls": 5, "conversations": 2, "gaps": 0, "waiting": 0}.items() <= figures.items()
    assert (figures["first_at"], figures["last_at"]) == ("2026-05-28T20:26:41Z", "2026-05-28T20:28:25Z")


def test_status_of_a_log_that_is_not_there_yet_says_how_to_begin(database: Path) -> None:
    result = run("--database", str(database.parent / "new.db"), "status")

    assert result.exit_code == 0
    assert "not made yet" in result.stdout
    assert result.stdout.endswith("next           toollog serve\n")
    assert not (database.parent / "new.db").exists()


def test_any_other_question_to_a_log_that_is_not_there_is_exit_code_6_with_a_hint(database: Path) -> None:
    result = run("--database", str(database.parent / "new.db"), "log", "list")

    assert (result.exit_code, result.stdout) == (6, "")
    assert result.stderr.startswith("error: no database at ")
    assert "\nhint: " in result.stderr


# ---- log ------------------------------------------------------------------------------------------------------------


def test_the_log_is_listed_newest_first_with_the_names_of_the_calls(database: Path) -> None:
    found = rows("log", "list")

    assert [row["tools"] for row in found] == [
        "",
        "tarx_fly",
        "",
        "tarx_remember",
        "tarx_remember",
        "",
        "tarx_remember",
        "",
        "tarx_recall",
    ]
    assert [row["started_at"] for row in found] == sorted((row["started_at"] for row in found), reverse=True)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--tool", "tarx_remember"], 3),
        (["--tool", "tarx_remember", "--tool", "tarx_fly"], 4),
        (["--outcome", "client_disconnected"], 1),
        (["--model", "qwen2.5-7b"], 9),  # the one without an answer, too: its request names the model
        (["--model", "other"], 0),
        (["--conversation", "good"], 4),
        (["--since", "2026-05-28T20:27"], 5),
        (["--until", "2026-05-28T20:27"], 4),
        (["--since", "7d", "--until", "2020-01-01"], 0),
        (["-n", "2"], 2),
        (
            ["--where", "tool = 'tarx_remember'", "--where", "total_ms >= 0"],
            9,
        ),  # the last one holds, as with any option
        (["--where", "tool = 'tarx_remember' AND schema_state = 'fail'"], 1),
        (["--label", "quality"], 0),
    ],
)
def test_filters_narrow_the_list(database: Path, filters: list[str], count: int) -> None:
    assert count == len(rows("log", "list", *filters))


def test_a_label_and_a_condition_are_filters_of_every_list(database: Path) -> None:
    (wrong,) = rows("log", "list", "--where", "schema_state = 'fail'")
    assert run("labels", "add", wrong["exchange_uid"], "--bad").exit_code == 0

    for given in (["--label", "quality=bad"], ["--where", "schema_state = 'fail'"]):
        assert [wrong] == rows("log", "list", *given)
        assert [wrong] == rows("log", "tail", *given)
        assert [wrong["conversation_uid"]] == [row["conversation_uid"] for row in rows("conversations", "list", *given)]
        assert [("tarx_remember", 1)] == [(row["tool"], row["calls"]) for row in rows("tools", "list", *given)]


def test_a_suite_and_an_export_remember_the_condition_that_they_were_made_with(database: Path, tmp_path: Path) -> None:
    given = ["--where", "signature = 'tarx_recall'", "--split", "train"]
    assert run("export", "run", str(tmp_path / "out"), *given).exit_code == 0
    manifest = (tmp_path / "out" / "manifest.json").read_text("utf-8")
    suite = json.loads(run("replay", "build", "--tag", "v1", *given, "--json").stdout)

    assert '"where": "signature = \'tarx_recall\'"' in manifest
    assert ("signature = 'tarx_recall'", 1) == (suite["filters"]["where"], suite["turns"])


def test_a_wrong_condition_is_exit_code_2_with_the_columns(database: Path) -> None:
    result = run("log", "list", "--where", "tol = 'tarx_remember' AND n_tools > 1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "tol" in result.stderr
    assert "Columns of v_exchanges: exchange_uid, started_at" in result.stderr


def test_a_list_longer_than_a_page_is_whole_and_in_order(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    with ToolLog.open(database) as log:
        found = [row["id"] for row in queries.exchanges(log.engine, Filters())]
        limited = [row["id"] for row in queries.exchanges(log.engine, Filters(limit=5))]
        talks = [row["id"] for row in queries.conversations(log.engine, Filters(limit=1))]

    assert found == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert limited == [9, 8, 7, 6, 5]
    assert talks == [2]


def test_nothing_matched_is_said_on_stderr_and_is_no_failure(database: Path) -> None:
    result = run("log", "list", "--tool", "nobody")

    assert (result.exit_code, result.stderr) == (0, "nothing matched\n")
    assert run("-q", "log", "list", "--tool", "nobody").stderr == ""


def test_the_tail_is_the_latest_oldest_first(database: Path) -> None:
    listed = [row["exchange_uid"] for row in rows("log", "list", "-n", "3")]

    assert listed[::-1] == [row["exchange_uid"] for row in rows("log", "tail", "-n", "3")]


def test_one_exchange_is_shown_with_messages_calls_verdicts_and_results(database: Path) -> None:
    uid = rows("log", "list", "--tool", "tarx_fly")[0]["exchange_uid"]

    text = run("log", "show", uid).stdout

    assert f"exchange {uid}  2026-05-28 20:28:24\n" in text
    assert "system:\n    You are TARX.\n" in text
    assert '    call tarx_remember {"key": "dog"}\n' in text
    assert "call tarx_fly  [c3]  not offered\n    {}\nresult, an error after 960 ms:\n    error: no such tool\n" in text


def test_one_exchange_as_json_has_everything(database: Path) -> None:
    uid = rows("log", "list", "--tool", "tarx_recall")[0]["exchange_uid"]

    value = json.loads(run("log", "show", uid, "--json").stdout)

    assert [message["role"] for message in value["messages"]] == ["system", "user"]
    assert value["answer"]["extra"]["tool_calls"][0]["function"]["arguments"] == '{"query": "cat"}'
    (made,) = value["tool_calls"]
    assert (made["name"], made["result"], made["schema_state"]) == ("tarx_recall", '{"found": "Miez"}', "ok")


def test_the_beginning_of_an_id_is_enough_when_only_one_fits(database: Path) -> None:
    uid = rows("log", "list", "-n", "1")[0]["exchange_uid"]

    assert uid in run("log", "show", uid[:-1]).stdout
    several = run("log", "show", uid[:4])
    assert several.exit_code == 2
    assert "fits 9 exchanges" in several.stderr
    none = run("log", "show", "zzz")
    assert none.exit_code == 3
    assert "toollog log list" in none.stderr


def test_hostile_text_of_a_model_does_not_reach_the_terminal(database: Path) -> None:
    path = database.parent / "hostile.db"
    write_log(path, Chat("h").user("Hi").answer("\x1b]0;owned\x07half \ud83d", call("f\x1b[2J", "{}")))

    for command in (["log", "list"], ["tools", "list"], ["conversations", "show", "h"]):
        result = run("--database", str(path), *command)
        assert result.exit_code == 0, result.stderr
        assert "\x1b" not in result.stdout
    (uid,) = (row["exchange_uid"] for row in json.loads(run("--database", str(path), "log", "list", "--json").stdout))
    shown = json.loads(run("--database", str(path), "log", "show", uid, "--json").stdout)
    assert shown["answer"]["content"] == "\x1b]0;owned\x07half \ud83d"


# ---- tools, conversations -------------------------------------------------------------------------------------------


def test_tools_are_listed_with_what_goes_wrong(database: Path) -> None:
    found = {row["tool"]: row for row in rows("tools", "list")}

    assert list(found) == ["tarx_remember", "tarx_fly", "tarx_recall"]
    assert (found["tarx_remember"]["calls"], found["tarx_remember"]["schema_failures"]) == (3, 1)
    assert found["tarx_fly"]["not_offered"] == 1


def test_tool_figures_follow_the_filters(database: Path) -> None:
    (found,) = rows("tools", "list", "--conversation", "good", "--tool", "tarx_remember")

    assert (found["calls"], found["bad_calls"]) == (1, 0)
    everything = ["--model", "qwen2.5-7b", "--outcome", "completed", "--since", "2026-05-28", "--until", "2026-05-29"]
    assert rows("tools", "list") == rows("tools", "list", *everything)


def test_conversations_are_listed_with_their_counts(database: Path) -> None:
    first, second = rows("conversations", "list")

    assert (first["user_text"], second["user_text"]) == ("Remember Rex.", "What is my cat called?")
    assert (first["external_id"], first["n_turns"], first["n_exchanges"], first["n_bad_calls"]) == ("bad", 2, 5, 2)
    assert (second["external_id"], second["n_tool_calls"], second["n_error_results"]) == ("good", 2, 0)
    assert [first] == rows("conversations", "list", "--tool", "tarx_fly")


@pytest.mark.parametrize("by", ["conversation_uid", "external_id"])
def test_a_conversation_is_shown_as_a_chat(database: Path, by: str) -> None:
    name = rows("conversations", "list")[1][by]

    text = run("conversations", "show", name).stdout

    order = ["What is my cat called?", "call tarx_recall", "Miez", "She is called Miez.", "She is three.", "saved"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


# ---- forms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["log", "list"], ["log", "tail"], ["tools", "list"], ["conversations", "list"]])
def test_every_list_says_the_same_in_every_form(database: Path, command: list[str]) -> None:
    as_json = rows(*command)
    as_lines = [json.loads(line) for line in run(*command, "--jsonl").stdout.splitlines()]
    as_csv = list(csv.DictReader(io.StringIO(run(*command, "--csv").stdout)))
    plain = run(*command).stdout.splitlines()

    assert as_json == as_lines
    assert [list(row) for row in as_json] == [list(row) for row in as_csv]
    assert len(plain) == len(as_json) + 1


def test_a_list_can_go_into_a_file(database: Path) -> None:
    target = database.parent / "rows.jsonl"
    result = run("log", "list", "--jsonl", "-o", str(target))

    assert (result.exit_code, result.stdout) == (0, "")
    assert len(target.read_text().splitlines()) == 9
    assert target.stat().st_mode & 0o777 == 0o600
    failed = run("log", "list", "-o", str(database.parent / "no" / "rows"))
    assert failed.exit_code == 1
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.endswith("hint: choose another file\n")


# ---- config, doctor, export ------------------------------------------------------------------------------------------


def test_settings_are_shown_with_where_they_come_from(database: Path) -> None:
    (database.parent / "toollog.toml").write_text("port = 12000\n")

    found = {row["name"]: (row["value"], row["source"]) for row in rows("config", "show")}

    assert found["database"] == (str(database), "environment")
    assert found["port"] == (12000, str(database.parent / "toollog.toml"))
    assert found["host"] == ("127.0.0.1", "default")


def test_the_option_wins_over_the_environment(database: Path) -> None:
    result = run("--database", "other.db", "config", "show", "--json")

    first = json.loads(result.stdout)[0]
    assert (first["value"], first["source"]) == ("other.db", "argument")


def test_a_wrong_setting_is_exit_code_2_that_names_it(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLLOG_PORT", "many")

    result = run("status")

    assert result.exit_code == 2
    assert "'port' (from environment)" in result.stderr
    # The hint of `status` leads to `config show`, and that one must not lead back.
    assert "config show" not in run("config", "show").stderr


def test_the_doctor_exits_with_4_for_a_problem_and_says_what_to_type(database: Path) -> None:
    result = run("doctor")

    assert result.exit_code == 4
    assert "problem  model server    nothing listens at http://127.0.0.1:9\n" in result.stdout
    assert "-> start the model server" in result.stdout
    value = json.loads(run("doctor", "--json").stdout)
    assert value["ok"] is False
    assert [item["check"] for item in value["findings"] if item["state"] == "problem"] == ["model server"]
