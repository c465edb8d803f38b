"""``toollog export`` as a person types it."""

import json
from pathlib import Path

import pytest

from tarx_toollog.export.splitting import split_of_name
from tests.unit.cli.samples import bad_chat, good_chat, rows, run, write_log


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a log of two chats, and stand beside it."""
    write_log(tmp_path / "log.db", good_chat(), bad_chat())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(tmp_path / "log.db"))
    return tmp_path / "log.db"


def test_two_formats_are_two_folders_and_one_report() -> None:
    result = run("export", "run", "train", "--for", "mlx", "--for", "trl")

    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("wrote 6 of 9 examples as build v1\n")
    assert "  gate                  9 → 6\n" in result.stdout
    assert "  train/mlx: train 6\n" in result.stdout
    assert "warning: no example is for validation" in result.stdout
    assert 6 == len(Path("train/mlx/train.jsonl").read_text().splitlines())
    assert {"mlx", "trl", "REPORT.md", "manifest.json", "lineage.jsonl"} == {p.name for p in Path("train").iterdir()}


def test_a_second_export_into_the_same_folder_wants_to_be_forced() -> None:
    run("export", "run", "train")

    again = run("export", "run", "train")

    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert 0 == run("export", "run", "train", "--force").exit_code


def test_filters_and_a_dry_run_write_nothing() -> None:
    result = run("export", "run", "train", "--dry-run", "--tool", "tarx_recall", "--json")

    report = json.loads(result.stdout)
    assert ({"tools": ["tarx_recall"]}, 2) == (report["config"]["filters"], report["splits"]["train"]["examples"])
    assert not Path("train").exists()
    assert [] == rows("export", "list")


def test_nothing_is_exit_code_3_and_a_wrong_option_2() -> None:
    assert run("export", "run", "train", "--tool", "nobody").exit_code == 3
    for wrong, said in {
        ("--for", "nobody"): "known: mlx, trl",
        ("--near", "often"): "between 0 and 1, or off",
        ("--mix", "tool=much"): "--mix",
        ("--task", "dpo", "--for", "mlx"): "formats that have one",
        ("--parent", "v9"): "v9",
        ("--template", "nowhere.jinja"): "nowhere.jinja",
        ("--template", "server"): "no server has told its chat template",
        ("--tokens", "foo"): "write --tokens server, or a URL",
        ("--name", ""): "'' is no name",
        ("--task", "kto", "--unit", "trajectory", "--for", "canonical"): "use --unit step",
    }.items():
        result = run("export", "run", "train", *wrong)
        assert result.exit_code in (2, 3)
        assert said in result.stderr
        assert "Traceback" not in result.stderr
    assert not Path("train").exists()


def test_a_build_that_is_not_kept_has_no_name() -> None:
    result = run("export", "run", "train", "--no-record", "--name", "mine")
    again = run("export", "run", "again", "--no-record", "--json")

    assert result.stdout.startswith("wrote 6 of 9 examples\n")
    assert json.loads(again.stdout)["build"] is None
    assert [] == rows("export", "list")


def test_a_dry_run_tells_what_each_format_would_hold() -> None:
    result = run("export", "run", "train", "--dry-run", "--for", "trl", "--for", "canonical", "--unit", "trajectory")

    assert result.stdout.startswith("would write 2 of 5 examples\n")
    assert "  train/trl: train 1; left out 1\n" in result.stdout
    assert "  train/canonical: train 2\n" in result.stdout
    assert not Path("train").exists()


def test_off_a_terminal_each_kind_of_work_is_told() -> None:
    told = run("export", "run", "train").stderr.splitlines()

    assert ["decisions …", "rows written …", "rows verified …", "lineage and hashes …", "build recorded …"] == told[-5:]
    assert "" == run("--quiet", "export", "run", "again").stderr


def test_one_example_is_explained() -> None:
    bad = next(row for row in rows("db", "query", "SELECT * FROM v_tool_calls") if row["schema_state"] == "fail")

    told = run("export", "run", "train", "--explain", bad["exchange_uid"])

    assert told.exit_code == 0, told.stderr
    assert "is left out by gate: a call of the answer breaks the schema of its tool" in told.stdout
    assert not Path("train").exists()


def test_builds_are_listed_shown_explained_and_compared() -> None:
    run("export", "run", "one", "--for", "canonical", "--limit", "1")
    run("export", "run", "two", "--for", "canonical", "--parent", "v1")

    assert ["v2", "v1"] == [row["build"] for row in rows("export", "list")]
    example = json.loads(Path("one/canonical/train.jsonl").read_text().splitlines()[0])["example_id"]
    assert {"v1", "v2"} == {row["build"] for row in rows("export", "why", example[:12])}
    assert {"added"} == {row["change"] for row in rows("export", "diff", "v1", "v2") if row["example_id"]}
    shown = json.loads(run("export", "show", "v2", "--json").stdout)
    assert "canonical/train.jsonl" in {file["path"] for file in shown["files"]}


def test_what_was_written_passes_the_lint_and_garbage_does_not() -> None:
    run("export", "run", "train", "--for", "mlx", "--for", "trl", "--for", "openai")

    fine = run("export", "lint", "train/mlx", "train/trl", "--max-tokens", "25000")
    assert fine.exit_code == 0, fine.stdout
    assert " 0 errors" in fine.stdout or "nothing to say" in fine.stdout
    Path("bad.jsonl").write_text('{"messages": [{"role": "user"\n')
    bad = run("export", "lint", "bad.jsonl", "--json")
    assert bad.exit_code == 4
    assert json.loads(bad.stdout)["files"][0]["errors"] >= 1


def test_identity_rows_are_mixed_in_by_their_share_of_trained_tokens() -> None:
    questions = ("Who are you?", "What is your name?", "Which company made you?", "Are you a person?", "Who is this?")
    lines = [json.dumps({"question": text, "answer": "I am TARX.", "cluster": text[:9]}) for text in questions]
    Path("identity.jsonl").write_text("\n".join(lines))

    result = run("export", "run", "train", "--identity", "identity.jsonl", "--mix", "identity=60%", "--json")

    assert result.exit_code == 0, result.stderr
    trained = json.loads(result.stdout)["trained"]
    share = trained["sources"]["identity"]["trained_tokens"] / trained["trained_tokens"]
    assert 0.45 < share < 0.75


def test_a_file_of_which_nothing_is_trained_on_is_told() -> None:
    """Paraphrases stay together: all rows are one group here, and chance keeps it for evaluation."""
    group = next(name for name in map(str, range(99)) if split_of_name(f"identity:{name}") == "eval")
    Path("identity.jsonl").write_text(
        json.dumps({"question": "Who are you?", "answer": "I am TARX.", "cluster": group})
    )

    result = run("export", "run", "train", "--identity", "identity.jsonl")

    assert "warning: no row of identity.jsonl is for training" in result.stdout


def test_a_file_with_bad_lines_is_told_before_the_log_is_read() -> None:
    Path("identity.jsonl").write_text('{"question": "Who are you?", "answer": "I am ChatGPT."}\nnot json\n')

    result = run("export", "run", "train", "--identity", "identity.jsonl")

    assert result.exit_code == 2
    assert "identity.jsonl: 2 errors" in result.stderr
    assert not Path("train").exists()


def test_formats_tell_what_they_can_be_used_for() -> None:
    found = {row["format"]: row for row in rows("export", "formats")}

    assert {"mlx", "trl", "axolotl", "llamafactory", "unsloth", "openai", "mistral", "rendered", "canonical"} == set(
        found
    )
    assert "dpo" in found["trl"]["tasks"]
    assert "trajectory" not in found["mlx"]["units"]
