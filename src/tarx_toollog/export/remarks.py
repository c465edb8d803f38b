"""What a person should hear about an export as a whole: its warnings, beside those about the chat template."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.export.formats.base import ExportFormat
from tarx_toollog.export.mix import parse_mix
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.reading import Reading
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.write import FormatCounts
from tarx_toollog.store.spool import Spool

_FATES = (
    "SELECT source, reason, split, COUNT(*) FROM entry WHERE reason IS NOT NULL OR split != 'train' "
    "GROUP BY source, reason, split ORDER BY COUNT(*) DESC, reason"
)
_LABELS = "SELECT DISTINCT label FROM entry WHERE reason IS NULL AND copies > 0 AND split = 'train'"
_KEPT_FOR = "kept for {split}: paraphrases stay together, as conversations do, and chance chose their split"


def about_sources(reading: Reading) -> Iterator[str]:
    """Yield what was found in the log and in the files."""
    for name, count in sorted(reading.claims.items()):
        yield f"in {count} answers the model calls itself {name}"
    for imported in reading.imports:
        for code, count in imported["warnings"].items():
            yield f"{imported['file']}: {count} × {code}"


def about_splits(splits: Mapping[str, object]) -> Iterator[str]:
    """Yield which split is missing."""
    if splits and "train" not in splits:
        yield "no example is for training: the conversations that match are kept for development or evaluation"
    if "train" in splits and "dev" not in splits:
        yield "no example is for validation: a young log may have no conversation that is kept for development"


def about_untrained(options: ExportOptions, spool: Spool, trained: Mapping[str, Any]) -> Iterator[str]:
    """Yield each source that somebody asked for and that is not trained on, with what became of its examples.

    For kto, also the kind of answers of which there is none.

    Args:
        options: What was asked for.
        spool: With all decisions made.
        trained: The sources of the training split.
    """
    files = {"identity": options.identity, "summary": options.summaries, "synthetic": options.synthetic}
    asked = {source: ", ".join(path.name for path in paths) for source, paths in files.items() if paths}
    for named, part in parse_mix(options.mix).items():
        if part.weight != 0 and part.share != 0 and part.limit != 0:
            asked.setdefault(named, f"the source {named}, which --mix names,")
    for source, name in asked.items():
        if source not in trained:
            fates = [
                f"{count} × {_KEPT_FOR.format(split=split) if reason is None else REASONS.get(reason, reason)}"
                for found, reason, split, count in spool.figures(_FATES)
                if found == source
            ]
            yield f"no row of {name} is for training: {'; '.join(fates) or 'there is none'}"
    if options.task == "kto":
        yield from _about_kinds({label for (label,) in spool.figures(_LABELS)})


def _about_kinds(labels: Collection[int]) -> Iterator[str]:
    for label, kind in ((1, "good"), (0, "bad")):
        if labels and label not in labels:
            yield f"no {kind} answer is for training: kto learns to tell good ones from bad ones, and needs both"


def about_formats(
    options: ExportOptions, formats: Sequence[ExportFormat], counts: Mapping[str, FormatCounts], files: Sequence[str]
) -> Iterator[str]:
    """Yield what formats could not write.

    Args:
        options: What was asked for.
        formats: Those that were chosen.
        counts: What each made of the rows.
        files: Names of the files that they wrote.
    """
    for one in formats:
        if not counts[one.name].rows:
            yield f"{one.name} can say none of the rows: it has no folder"
    if options.parquet and not any(name.endswith(".parquet") for name in files):
        yield "--parquet changed nothing: trl and unsloth write Parquet, the formats that were chosen do not"
