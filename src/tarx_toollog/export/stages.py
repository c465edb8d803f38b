"""How many came into each stage of an export, how many went on, and why the rest did not.

The first stages count what the log has, the middle ones examples, and the last one lines of files. Where one unit
becomes another, the reason says so, or more come out than went in: an answer that stands beside the main line of its
conversation is found with the step that it stands beside.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tarx_toollog.export.reasons import REASONS, STAGE_OF, STAGES
from tarx_toollog.store.spool import Spool

_COUNT = "SELECT reason, COUNT(*) FROM entry GROUP BY reason"
_OF_EXAMPLES = tuple(stage for stage in STAGES if stage not in ("select", "assemble"))


@dataclass(frozen=True, slots=True)
class StageCount:
    """One stage: what came in, what went on, and why the rest did not."""

    stage: str
    n_in: int
    n_out: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Captured:
    """What the log held when the export began."""

    n_exchanges: int
    """Those of replays left out."""
    n_steps: int
    """Steps on main lines of conversations."""
    n_meant: int
    """Steps that the filters leave."""


def log_stages(captured: Captured, n_read: int, spool: Spool) -> tuple[StageCount, StageCount]:
    """Return what became of the log and of the files until there were examples.

    Args:
        captured: What the log held.
        n_read: Steps of the log, answers of replays and examples of files that were read.
        spool: Has an entry for each example, and for each that could not be one.
    """
    n_examples = spool.n_entries
    # What was logged while this export ran is in the files and in no count before them.
    n_beside = max(0, n_read - captured.n_meant)
    lost = {
        "no_step": captured.n_exchanges - captured.n_steps,
        "not_meant": captured.n_steps - captured.n_meant,
        "gone": captured.n_meant - n_read,
    }
    return (
        _stage("select", captured.n_exchanges + n_beside, lost),
        StageCount("assemble", n_read, n_examples, _only_some({"joined": n_read - n_examples})),
    )


def stage_counts(spool: Spool) -> tuple[StageCount, ...]:
    """Return what each stage from the gate to writing made of the examples, in order."""
    dropped: dict[str, int] = {}
    total = 0
    for reason, count in spool.figures(_COUNT):
        total += count
        if reason is not None:
            dropped[reason] = count
    found, left = [], total
    for stage in _OF_EXAMPLES:
        lost = {reason: dropped[reason] for reason in STAGES[stage] if reason in dropped}
        if stage == "write":  # a format of somebody else may have reasons of its own
            lost |= {reason: count for reason, count in dropped.items() if reason not in STAGE_OF}
        found.append(_stage(stage, left, lost))
        left = found[-1].n_out
    return tuple(found)


def verified(n_written: int, n_read: int) -> StageCount:
    """Return the last stage: the lines of all files, which were read again."""
    return StageCount("verify", n_written, n_read, {})


def stage_lines(stages: tuple[StageCount, ...]) -> list[str]:
    """Return the stages in which something changed, for a terminal."""
    lines = []
    for stage in stages:
        if stage.dropped or stage.n_in != stage.n_out or stage.stage == "verify":
            lines.append(f"  {stage.stage:<14} {stage.n_in:>8} → {stage.n_out}")
            lines += reason_lines(stage.dropped)
    return lines


def reason_lines(dropped: Mapping[str, int]) -> list[str]:
    """Return reasons with their counts, for a terminal."""
    return [f"    {count:>8}  {REASONS.get(reason, reason)}" for reason, count in dropped.items()]


def stage_table(stages: tuple[StageCount, ...]) -> list[str]:
    """Return the stages as a Markdown table."""
    lines = ["| stage | in | out | left out |", "|---|--:|--:|---|"]
    for one in stages:
        lost = "<br>".join(
            f"{count:,} × {REASONS.get(reason, reason)} (`{reason}`)" for reason, count in one.dropped.items()
        )
        lines.append(f"| {one.stage} | {one.n_in:,} | {one.n_out:,} | {lost} |")
    return lines


def _stage(name: str, n_in: int, dropped: Mapping[str, int]) -> StageCount:
    lost = _only_some(dropped)
    return StageCount(name, n_in, n_in - sum(lost.values()), lost)


def _only_some(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: count for reason, count in counts.items() if count > 0}
