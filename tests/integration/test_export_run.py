"""An export from its options to its place: what is refused before reading, and what a format cannot say."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.export import pipeline
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport, report_page, report_text
from tarx_toollog.store.dataset_queries import why
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.secret import KEY_BYTES
from tests.unit.cli.samples import bad_chat, good_chat, keep_for, write_log

WITHOUT_TOOLS = (
    "{% if tools %}{{ raise_exception('no tools') }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of a chat in which all went well, and one with a call that must not be learned."""
    settings = write_log(tmp_path / "log.db", good_chat(), bad_chat())
    with ToolLog.open(settings=settings, read_only=False) as opened:
        yield opened


@pytest.fixture
def mended(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of nothing but a dialogue with a call that must not be learned."""
    with ToolLog.open(settings=write_log(tmp_path / "mended.db", bad_chat()), read_only=False) as opened:
        yield opened


class Told:
    """Remembers what an export says that it does."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def begin(self, label: str, total: int | None = None) -> None:
        self.label = label
        self.counts[label] = 0

    def advance(self, count: int = 1) -> None:
        self.counts[self.label] += count


def export(log: ToolLog, out: Path, *formats: str, dry_run: bool = False, **options: Any) -> ExportReport:
    return run_export(log, out, ExportOptions(formats or ("canonical",), **options), dry_run=dry_run)


def builds(log: ToolLog) -> list[tuple[Any, ...]]:
    return list(log.query("SELECT name, status FROM dataset_build ORDER BY id").rows)


def done_uid(log: ToolLog) -> str:
    """Return the exchange of the last answer that is learned of the chat in which a call went wrong."""
    answers = {uid: log.exchange(uid).response for (uid,) in log.query("SELECT uid FROM exchange").rows}
    uid: str = next(key for key, one in answers.items() if one and one.choices[0].message.text == "Done.")
    return uid


def last_stage(report: ExportReport) -> tuple[str, int, dict[str, int]]:
    stage = report.written
    return stage.stage, stage.n_out, dict(stage.dropped)


# ---- what cannot work is refused before anything is read -------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("formats", "options", "said"),
    [
        (("rendered",), {}, "needs the chat template"),
        (("axolotl",), {"task": "dpo"}, "chat template has to write"),
        (("trl", "llamafactory"), {"base_model": "meta-llama/Llama-3.1-8B"}, "no template that is known"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_before_the_log_is_read(
    log: ToolLog, tmp_path: Path, formats: tuple[str, ...], options: dict[str, Any], said: str, dry_run: bool
) -> None:
    told = Told()

    with pytest.raises(ConfigError, match=said):
        run_export(log, tmp_path / "out", ExportOptions(formats, **options), dry_run=dry_run, progress=told)

    assert {} == told.counts
    assert [] == builds(log)


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_name_that_is_taken_is_refused_before_the_log_is_read(log: ToolLog, tmp_path: Path, dry_run: bool) -> None:
    told = Told()
    export(log, tmp_path / "one", name="mine")

    with pytest.raises(ConfigError, match="'mine' already"):
        run_export(log, tmp_path / "two", ExportOptions(name="mine"), dry_run=dry_run, progress=told)

    assert {} == told.counts
    assert [("mine", "finished")] == builds(log)


def test_a_dry_run_refuses_the_folder_that_the_export_would_refuse(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "out")

    with pytest.raises(ConfigError, match="is not empty"):
        export(log, tmp_path / "out", dry_run=True)

    forced = run_export(log, tmp_path / "out", ExportOptions(("canonical",)), dry_run=True, force=True)
    assert {"train": 6} == forced.formats["canonical"].rows


# ---- what a format cannot say ----------------------------------------------------------------------------------------


def test_a_row_that_no_format_can_say_is_out_with_the_reason_of_the_format(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", "trl", unit="trajectory")

    assert ("write", 1, {"needs_mask": 1}) == last_stage(report)
    assert {"train": {"examples": 1, "conversations": 1}} == report.splits
    assert 1 == report.accounting["rows"]
    assert {("out", "needs_mask")} == {(row["state"], row["reason"]) for row in why(log.engine, done_uid(log))}


def test_a_row_that_one_of_two_formats_can_say_is_in(log: ToolLog, tmp_path: Path) -> None:
    report = export(log, tmp_path / "out", "trl", "canonical", unit="trajectory")

    assert ("write", 2, {}) == last_stage(report)
    assert ({"train": 1}, {"needs_mask": 1}) == (report.formats["trl"].rows, report.formats["trl"].dropped)
    assert {"in"} == {row["state"] for row in why(log.engine, done_uid(log))}
    assert "| trl | train | 1 | 1 × `needs_mask` |" in (tmp_path / "out/REPORT.md").read_text("utf-8")


def test_a_format_that_can_say_no_row_has_no_folder_and_a_warning(mended: ToolLog, tmp_path: Path) -> None:
    report = export(mended, tmp_path / "out", "trl", "canonical", unit="trajectory")

    assert ["REPORT.md", "canonical", "lineage.jsonl", "manifest.json"] == sorted(
        path.name for path in (tmp_path / "out").iterdir()
    )
    assert "trl can say none of the rows: it has no folder" in report.warnings
    assert "out/trl: nothing; left out 1\n" in report_text(report)
    assert "| trl | – | 0 | 1 × `needs_mask` |" in report_page(report)


@pytest.mark.parametrize("dry_run", [False, True])
def test_when_no_format_can_say_any_row_nothing_is_written_or_kept(
    mended: ToolLog, tmp_path: Path, dry_run: bool
) -> None:
    with pytest.raises(NothingMatchedError, match="no format can say any of the rows") as caught:
        export(mended, tmp_path / "out", "trl", "llamafactory", unit="trajectory", dry_run=dry_run)

    assert "trl: 1 × the format learns from every answer" in caught.value.hint
    assert "llamafactory: 1 ×" in caught.value.hint
    assert not (tmp_path / "out").exists()
    assert [] == builds(mended)


def test_a_dry_run_tells_what_the_export_tells(log: ToolLog, tmp_path: Path) -> None:
    dry = export(log, tmp_path / "out", "trl", "axolotl", unit="trajectory", dry_run=True)

    assert not (tmp_path / "out").exists()
    assert [] == builds(log)
    real = export(log, tmp_path / "out", "trl", "axolotl", unit="trajectory")
    assert dry.facts() == replace(real, stages=real.stages[:-1]).facts()


def test_a_dry_run_without_room_names_the_folder_that_has_none(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "write_rows", full_disk)

    with pytest.raises(ToolLogError, match=f"cannot write {tempfile.gettempdir()}: No space") as caught:
        export(log, tmp_path / "out", dry_run=True)
    assert "TMPDIR" in caught.value.hint
    with pytest.raises(ToolLogError, match=f"cannot write {tmp_path / 'out'}: No space"):
        export(log, tmp_path / "out")


def test_what_the_lint_finds_is_on_the_terminal(log: ToolLog, tmp_path: Path) -> None:
    template = tmp_path / "no_tools.jinja"
    template.write_text(WITHOUT_TOOLS)

    report = export(log, tmp_path / "out", template=str(template))

    assert 6 == report.lint["tools_refused"]
    assert "warning: tools_refused in 6 rows: " in report_text(report)


# ---- an earlier export -----------------------------------------------------------------------------------------------


def test_only_what_the_manifest_lists_is_taken_away(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(log, out, "mlx", "openai")
    own = ["mlx/adapters/adapters.safetensors", "mlx/model-Q4_K_M.gguf", "openai/project.py", "trl/mine.py"]
    for name in own:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("hours of training")

    run_export(log, out, ExportOptions(("canonical",), filters=Filters.parse(limit=1)), force=True)

    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {"REPORT.md", "manifest.json", "lineage.jsonl", "canonical/train.jsonl", *own} == left


def test_where_no_manifest_is_nothing_is_taken_away(log: ToolLog, tmp_path: Path) -> None:
    (tmp_path / "out/mlx").mkdir(parents=True)
    (tmp_path / "out/mlx/train.jsonl").write_text("mine")
    (tmp_path / "out/REPORT.md").write_text("replaced")

    run_export(log, tmp_path / "out", ExportOptions(("canonical",)), force=True)

    assert "mine" == (tmp_path / "out/mlx/train.jsonl").read_text()
    assert "What is in this folder" in (tmp_path / "out/REPORT.md").read_text("utf-8")


@pytest.mark.parametrize(
    "manifest",
    [
        '{"files": [{"path": "../precious.txt"}, {"path": "link/precious.txt"}]}',
        '{"files": [{"name": 1}]}',
        '{"files": 3}',
        "no json",
    ],
)
def test_a_manifest_that_is_not_ours_takes_nothing_away(log: ToolLog, tmp_path: Path, manifest: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious.txt").write_text("keep")
    (out / "link").symlink_to(tmp_path)
    (out / "manifest.json").write_text(manifest)

    run_export(log, out, ExportOptions(("canonical",)), force=True)

    assert "keep" == (tmp_path / "precious.txt").read_text()
    assert 2 == json.loads((out / "manifest.json").read_bytes())["manifest_version"]


# ---- equal rows ------------------------------------------------------------------------------------------------------


def twins(tmp_path: Path) -> ToolLog:
    settings = write_log(tmp_path / "twins.db", good_chat(), good_chat("twin", start_s=50))
    return ToolLog.open(settings=settings, read_only=False)


def test_equal_rows_are_kept_when_somebody_wants_them(tmp_path: Path) -> None:
    with twins(tmp_path) as log:
        assert {"train": 4} == export(log, tmp_path / "one").formats["canonical"].rows
        assert {"train": 8} == export(log, tmp_path / "two", exact=False).formats["canonical"].rows


def test_equal_rows_that_are_kept_are_not_in_two_splits(tmp_path: Path) -> None:
    with twins(tmp_path) as log:
        uids = [uid for (uid,) in log.query("SELECT uid FROM conversation ORDER BY id").rows]
        keep_for(log, "dev", uids[1])

        report = export(log, tmp_path / "out", exact=False)

    assert {"train": 4} == report.formats["canonical"].rows
    assert {"split_conflict": 4} == {key: n for stage in report.stages for key, n in stage.dropped.items()}


# ---- the same bytes --------------------------------------------------------------------------------------------------


def test_the_same_template_from_another_folder_gives_the_same_bytes(log: ToolLog, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"at_{name}").mkdir()
        (tmp_path / f"at_{name}/chat.jinja").write_text(WITHOUT_TOOLS)
        export(log, tmp_path / name, template=str(tmp_path / f"at_{name}/chat.jinja"))

    texts = [(tmp_path / f"{name}/manifest.json").read_text("utf-8") for name in ("one", "two")]
    assert texts[0] == texts[1]
    assert "chat.jinja" == json.loads(texts[0])["config"]["template"]


def test_marks_are_known_by_the_rules_and_the_key_that_make_them(log: ToolLog, tmp_path: Path) -> None:
    export(log, tmp_path / "one")
    export(log, tmp_path / "plain", redact="off")
    key = log.settings.journal_path / "identity.key"
    key.write_bytes(bytes(KEY_BYTES))
    export(log, tmp_path / "two")

    one, plain, two = (
        json.loads((tmp_path / f"{name}/manifest.json").read_bytes()) for name in ("one", "plain", "two")
    )
    assert one["redaction_policy"] == two["redaction_policy"] != plain["redaction_policy"]
    assert plain["redaction_key"] is None
    assert 2 == len({one["redaction_key"], two["redaction_key"]} - {None})
    assert bytes(KEY_BYTES).hex()[:16] != two["redaction_key"]


def test_another_file_of_the_same_name_is_another_configuration(log: ToolLog, tmp_path: Path) -> None:
    file = tmp_path / "identity.jsonl"
    for name, answer in {"a": "I am TARX.", "b": "My name is TARX."}.items():
        file.write_text(json.dumps({"question": "Who are you?", "answer": answer}))
        export(log, tmp_path / name, identity=(file,))

    assert [(2,)] == list(log.query("SELECT COUNT(DISTINCT config_hash) FROM dataset_build").rows)


# ---- progress --------------------------------------------------------------------------------------------------------


def test_rows_of_files_are_counted_apart_from_steps(log: ToolLog, tmp_path: Path) -> None:
    file = tmp_path / "identity.jsonl"
    file.write_text("\n".join(json.dumps({"question": f"Who are you {n}?", "answer": "I am TARX."}) for n in range(3)))
    told = Told()

    run_export(log, tmp_path / "out", ExportOptions(("canonical",), identity=(file,)), progress=told)

    assert (9, 3) == (told.counts["steps read"], told.counts["rows of files read"])
