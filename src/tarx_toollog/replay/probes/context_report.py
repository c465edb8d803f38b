"""What a run of the probe of the context says."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.probes.cases import Case, Reading, by_original, read
from tarx_toollog.replay.probes.context import (
    AS_IT_IS,
    POSITIONS,
    PROBE,
    REACHED,
    WITH_DISTRACTORS,
    intended,
    usable_of,
)
from tarx_toollog.replay.probes.differences import pairs_of
from tarx_toollog.replay.probes.levels import State, codes_of, share_of, verdicts
from tarx_toollog.replay.statistics.paired import PairedDifference
from tarx_toollog.replay.statistics.proportion import Case as Counted
from tarx_toollog.replay.statistics.proportion import Proportion, cases_to_decide, clustered

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
MIN_KEPT = 0.9
"""Share of what was right without padding that has to stay right, for a fill to count as context that works."""
_LEAST = 5  # cases: of a share of 90 % one case in ten is wrong, and Wilson's interval of 0 of 1 leaves it out


@dataclass(frozen=True, slots=True)
class Asked:
    """One case with what the server counted."""

    case: Case
    tokens: int | None
    """Of the prompt; None when the server did not say, because it refused, for example."""
    total_ms: float | None
    prompt_ms: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """The cases of one fill, with the fact at one position."""

    position: str
    fill: int
    """In hundredths of the usable context."""
    tokens: int
    """Intended."""
    n_cases: int
    n_reached: int
    """Cases whose prompt came to the server in full length; only these are counted."""
    faults: Mapping[str, int]
    """Why prompts did not come in full length, as far as the server said so."""
    share: Proportion
    kept: Proportion
    """Of the cases that are right without padding: those that are right here, too."""
    codes: Mapping[str, int]
    seconds: float | None
    """Median of the time of an answer."""
    prompt_seconds: float | None
    """Median of the time that the prompt took, where the server says so."""
    measured: float | None
    """Median of the tokens of the prompts."""

    @property
    def state(self) -> State:
        """Whether enough is kept."""
        if self.kept.denominator < _LEAST:
            return "undecided"
        if self.kept.low >= MIN_KEPT:
            return "holds"
        return "breaks" if self.kept.high < MIN_KEPT else "undecided"

    @property
    def cases_to_decide(self) -> int | None:
        """About how many cases would decide, if the share stays as it is."""
        share = self.kept.estimate
        return None if self.state != "undecided" or share is None else cases_to_decide(share, MIN_KEPT)

    @property
    def why(self) -> str:
        """Why nothing can be said."""
        if not self.kept.denominator:
            return "the fill was not reached, or no case was right without padding"
        needed = self.cases_to_decide
        if self.kept.denominator < _LEAST:
            return f"{self.kept.denominator} cases, and {_LEAST} are the least"
        more = "too near to the bound to be told" if needed is None else f"about {needed} would decide"
        return f"{self.kept.denominator} cases; {more}"

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "position": self.position, "fill": self.fill, "tokens_intended": self.tokens,
            "tokens_measured": self.measured, "cases": self.n_cases, "reached": self.n_reached,
            "faults": dict(self.faults), "right": self.share.to_json(), "kept": self.kept.to_json(),
            "state": self.state, "cases_to_decide": self.cases_to_decide, "failures": dict(self.codes),
            "seconds": self.seconds, "prompt_seconds": self.prompt_seconds,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """Whether the middle is worse than the ends, at one fill, on cases that are at all positions."""

    fill: int
    end_and_middle: PairedDifference
    """The middle minus the end."""
    start_and_middle: PairedDifference

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "fill": self.fill,
            "middle_minus_end": self.end_and_middle.to_json(),
            "middle_minus_start": self.start_and_middle.to_json(),
        }


@dataclass(frozen=True, slots=True)
class ContextReport:
    """How a model does with a fuller context."""

    reading: Reading
    usable: int
    base: Proportion
    """Cases without padding."""
    base_seconds: float | None
    cells: tuple[Cell, ...]
    shapes: tuple[Shape, ...]
    n_fixed: int
    """Cases whose fact cannot be moved."""

    @property
    def positions(self) -> list[str]:
        """Positions of the fact that were asked."""
        return list(dict.fromkeys(cell.position for cell in self.cells))

    def effective(self, position: str) -> Cell | None:
        """Return the largest fill up to which, and at every smaller one, enough is kept."""
        held = None
        for cell in sorted((cell for cell in self.cells if cell.position == position), key=lambda cell: cell.fill):
            if cell.state != "holds":
                break
            held = cell
        return held

    @property
    def sentence(self) -> str:
        """The effective context in words."""
        held = {position: self.effective(position) for position in self.positions}
        fills = {position: 0 if cell is None else cell.fill for position, cell in held.items()}
        worst = min(fills, key=lambda position: fills[position], default=None)
        if worst is None:
            return "INCONCLUSIVE: nothing was asked"
        cell = held[worst]
        if cell is not None:
            where = "wherever the needed fact stands" if len(held) > 1 else f"with the needed fact at the {worst}"
            return f"effective context: at least {cell.tokens} tokens ({cell.fill} % of {self.usable}), {where}"
        first = min((each for each in self.cells if each.position == worst), key=lambda each: each.fill)
        if first.state == "breaks":
            return f"effective context: less than {first.tokens} tokens, with the needed fact at the {worst}"
        return f"INCONCLUSIVE: {first.fill} % with the fact at the {worst} is undecided ({first.why})"

    def to_json(self) -> dict[str, Any]:
        """Return all of it, every figure with its counts and its method."""
        return {
            "format": FORMAT,
            "probe": PROBE,
            **self.reading.to_json(),
            "usable_tokens": self.usable,
            "min_kept": MIN_KEPT,
            "without_padding": self.base.to_json(),
            "fact_cannot_be_moved": self.n_fixed,
            "effective": {
                position: None if (cell := self.effective(position)) is None else cell.tokens
                for position in self.positions
            },
            "sentence": self.sentence,
            "cells": [cell.to_json() for cell in self.cells],
            "shapes": [shape.to_json() for shape in self.shapes],
        }


def context_report(log: "ToolLog", name: str) -> ContextReport:
    """Return what the run called ``name`` says.

    Raises:
        NothingMatchedError: There is no such run.
        ConfigError: It is a run of something else.
    """
    reading = read(log, name, PROBE)
    return context_report_of(reading, [_asked(log, case) for case in reading.cases])


def context_report_of(reading: Reading, asked: Sequence[Asked]) -> ContextReport:
    """Count the cases. Pure."""
    before = [each for each in asked if each.case.variant.factor == AS_IT_IS]
    groups: dict[tuple[str, int], list[Asked]] = {}
    for each in asked:
        if each.case.variant.factor != AS_IT_IS:
            key = (each.case.variant.factor, intended(each.case.variant.level)[0])
            groups.setdefault(key, []).append(each)
    right = {of: case for of, case in by_original(each.case for each in before).items() if case.is_right}
    moved = {each.case.of for (factor, _), found in groups.items() if factor.startswith("middle") for each in found}
    return ContextReport(
        reading=reading,
        usable=next((usable_of(case.variant.level) for case in reading.cases), 0),
        base=share_of(each.case for each in before),
        base_seconds=_median([each.total_ms for each in before], 1000),
        cells=tuple(_cell(*key, groups[key], right) for key in sorted(groups, key=_place)),
        shapes=tuple(_shapes(groups)),
        n_fixed=len({case.of for case in reading.cases} - moved),
    )


def _asked(log: "ToolLog", case: Case) -> Asked:
    uid = next((trial.exchange_uid for trial in case.trials), None)
    if uid is None:
        return Asked(case, None, None, None)
    exchange = log.exchange(uid)
    response = exchange.response
    usage = None if response is None else response.usage
    tokens = None if usage is None else usage.input_tokens
    return Asked(case, tokens, exchange.timing.total_ms, None if response is None else response.prompt_ms)


def _cell(factor: str, fill: int, found: Sequence[Asked], right: Mapping[str, Case]) -> Cell:
    tokens = intended(found[0].case.variant.level)[1]
    judged = [each for each in found if each.case.is_right is not None or each.case.fault is not None]
    reached = [
        each
        for each in judged
        if each.case.fault is None and each.tokens is not None and each.tokens >= REACHED * tokens
    ]
    kept = [each.case for each in reached if each.case.of in right]
    return Cell(
        position=factor.removesuffix(WITH_DISTRACTORS),
        fill=fill,
        tokens=tokens,
        n_cases=len(judged),
        n_reached=len(reached),
        faults=dict(Counter(each.case.fault.partition(":")[0] for each in judged if each.case.fault is not None)),
        share=share_of(each.case for each in reached),
        kept=clustered(Counted(bool(case.is_right), case.cluster) for case in kept),
        codes=codes_of(each.case for each in reached),
        seconds=_median([each.total_ms for each in reached], 1000),
        prompt_seconds=_median([each.prompt_ms for each in reached], 1000),
        measured=_median([each.tokens for each in reached], 1),
    )


def _shapes(groups: Mapping[tuple[str, int], Sequence[Asked]]) -> Iterator[Shape]:
    suffix = next((WITH_DISTRACTORS for factor, _ in groups if factor.endswith(WITH_DISTRACTORS)), "")
    for fill in sorted({fill for _, fill in groups}):
        cases = [each.case for position in POSITIONS for each in groups.get((position + suffix, fill), ())]
        clusters = {case.of: case.cluster for case in cases}
        at = {
            position: verdicts(by_original(case for case in cases if case.variant.factor == position + suffix))
            for position in POSITIONS
        }
        if at["middle"]:
            pairs = (pairs_of(at[position], at["middle"], clusters) for position in ("end", "start"))
            yield Shape(fill, *pairs)


def _place(key: tuple[str, int]) -> tuple[int, int]:
    position = key[0].removesuffix(WITH_DISTRACTORS)
    return [str(each) for each in POSITIONS].index(position), key[1]


def _median(values: Sequence[float | None], scale: float) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known) / scale, 3) if known else None
