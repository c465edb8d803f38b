"""Any log: what every format says is what was logged, and a build that continues another moves nothing.

``tests/consumers/test_any_log.py`` reads the same files with the readers that they are for.
"""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.support.any_logs import EVERYTHING, Dialogue, as_turns, dialogues, keep, lines, play, said, typed
from tests.unit.cli.samples import keep_for, write_log

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ (m.tool_calls or [])|tojson }}{% endfor %}"
FORMATS = ("mlx", "trl", "axolotl", "llamafactory", "unsloth", "openai", "mistral", "canonical")
ONCE = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])


@ONCE
@given(st.lists(dialogues(), min_size=1, max_size=4))
def test_every_format_of_any_log_says_what_was_logged(log: list[Dialogue]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "chat.jinja").write_text(TEMPLATE)
        kept = keep(log, folder / "log.db")
        options = ExportOptions(
            FORMATS,
            filters=EVERYTHING,
            near=None,
            decontaminate=False,
            redact="off",
            template=str(folder / "chat.jinja"),
        )
        with ToolLog.open(settings=kept.settings) as opened:
            try:
                report = run_export(opened, folder / "out", options, record=False)
            except NothingMatchedError:
                assert [] == kept.plain
                return
        files: dict[str, list[dict[str, Any]]] = {}
        for entry in lines(folder / "out/lineage.jsonl"):
            file = entry["file"]
            if file not in files:
                files[file] = lines(folder / "out" / file)
            told = said(kept.told[entry["exchange_uid"]])
            expected = as_turns(told) if file.startswith("llamafactory/") else told
            assert typed(expected) == typed(said(files[file][entry["line"] - 1])), file
        for format_name in FORMATS:
            counts = report.formats[format_name]
            assert report.n_examples == sum(counts.rows.values()) + sum(counts.dropped.values())


@ONCE
@given(
    st.lists(dialogues(), min_size=1, max_size=5),
    st.lists(dialogues(), max_size=5),
    st.randoms(use_true_random=False),
)
def test_a_build_that_continues_another_moves_none_of_its_examples(
    first: list[Dialogue], more: list[Dialogue], draw: Any
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [play(dialogue, f"chat {number}", number * 100)[0] for number, dialogue in enumerate(first)]
        later = [
            play(dialogue, f"later {number}", 9000 + number * 100)[0]
            for number, dialogue in enumerate([*more, *first[:2]])
        ]
        with ToolLog.open(settings=write_log(folder / "log.db", *made), read_only=False) as log:
            shuffle(log, draw)
            try:
                run_export(log, folder / "one", ExportOptions(("canonical",), decontaminate=False))
            except NothingMatchedError:
                return
            log.write([exchange for chat in later for exchange in chat.exchanges])
            shuffle(log, draw)
            run_export(log, folder / "two", ExportOptions(("canonical",), parent="v1", decontaminate=False))
        before, after = splits(folder / "one"), splits(folder / "two")
        assert before == {example: after.get(example) for example in before}


def shuffle(log: ToolLog, draw: Any) -> None:
    """Give conversations other splits: the parent build has to win over a registry that somebody changed."""
    for (uid,) in list(log.query("SELECT uid FROM conversation ORDER BY id").rows):
        keep_for(log, draw.choice(["train", "dev"]), uid)


def splits(out: Path) -> dict[str, str]:
    return {row["example_id"]: row["split"] for path in out.rglob("canonical/*.jsonl") for row in lines(path)}
