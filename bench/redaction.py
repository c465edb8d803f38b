"""How well redaction finds what it should, on a labelled corpus, and what it costs.

python -m bench.redaction            print, and write bench/results/redaction.json
python -m bench.redaction --docs     write the tables in docs/redaction.md as well
python -m bench.redaction --held-out print the figures of the held-out cases only, for the rules that are imported

A value counts as found when exactly its characters were replaced, by the rule that the corpus names. Whatever else was
replaced is a false alarm of the rule that did it. The corpus was written together with the rules, so these figures say
what the rules are meant to do and that they still do it; they are no estimate for traffic that nobody has labelled.
The held-out cases were written before the code of the rules was read, and no rule counts for them: only what is gone.
"""

import argparse
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.wire.decode import decode
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "tests" / "captures" / "redaction_corpus"
HELD_OUT = CORPUS / "held_out.jsonl"
HISTORY = CORPUS / "held_out_history.json"
"""Figures of the held-out cases under earlier rules: those rules are gone, so the figures are data."""
RESULT = ROOT / "bench" / "results" / "redaction.json"
DOCS = ROOT / "docs" / "redaction.md"
JOIN = "<+>"
"""Breaks the shape of made-up keys in the files, so that code hosts do not take them for real ones."""

KEY = bytes(range(32))
_PLACEHOLDER = re.compile(r"⟦[A-Z0-9_]+:[0-9a-f]+⟧")
_HOLE = "\N{WHITE SQUARE}"
_QUOTED_HOLE = re.compile(rf'(?:\\*")?{_HOLE}(?:\\*")?')


@dataclass(frozen=True, slots=True)
class Case:
    """One labelled text; a JSON value stands here as its text."""

    id: str
    text: str
    is_json: bool
    expected: tuple[tuple[str, str], ...]
    """Rule and value, in the order of the corpus."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules made of a case, counted by rule."""

    case: Case
    found: Counter[str]
    missed: Counter[str]
    false: Counter[str]


def load() -> Iterator[Case]:
    """Yield the corpus, without the cases that are held out."""
    for path in sorted(CORPUS.glob("*.jsonl")):
        if path != HELD_OUT:
            yield from _cases(path)


def load_held_out() -> list[Case]:
    """Return the held-out cases."""
    return list(_cases(HELD_OUT))


def _cases(path: Path) -> Iterator[Case]:
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line.replace(JOIN, ""))
        is_json = "json" in entry
        text = json.dumps(entry["json"], ensure_ascii=False) if is_json else entry["text"]
        expected = tuple((label["rule"], label["value"]) for label in entry["expect"])
        yield Case(f"{path.stem}/{entry['id']}", text, is_json, expected)


def judge(case: Case, redactor: Redactor) -> Verdict:
    """Hold what the rules do to a case against its labels."""
    text, founds = redactor.text(case.text)
    wanted = Counter(rule for rule, _ in case.expected)
    got = Counter(found.rule for found in founds)
    if _is_exact(case, text):
        return Verdict(case, wanted & got, wanted - got, got - wanted)
    # Something is left of a value, or something beside it is gone: then nothing of that rule counts as found.
    exact = Counter(rule for rule, value in case.expected if value not in text) & got & _untouched(case, got)
    return Verdict(case, exact, wanted - exact, got - exact)


def _is_exact(case: Case, text: str) -> bool:
    """Say whether exactly the values of a case are gone from it."""
    # A number becomes a string, in JSON within a string one with escaped quotes: quotes beside a hole say nothing.
    left, wanted = (_QUOTED_HOLE.sub(_HOLE, _PLACEHOLDER.sub(_HOLE, of)) for of in (text, _with_holes(case)))
    return left == wanted


def _with_holes(case: Case) -> str:
    text = case.text
    for _, value in case.expected:
        for level in range(4):  # a value may stand in JSON in JSON
            written = value
            for _ in range(level):
                written = json.dumps(written, ensure_ascii=False)[1:-1]
            if written in text:
                text = text.replace(written, _HOLE)
                break
    return text


def _untouched(case: Case, got: Counter[str]) -> Counter[str]:
    """Return the rules that may count although the whole is not exact: those of other labels of the same case."""
    return got if len(case.expected) > 1 else Counter()


def evaluate() -> tuple[dict[str, dict[str, Any]], list[Verdict]]:
    """Return precision and recall for each rule, and the verdicts."""
    redactor = Redactor(Policy.load("all"), KEY)
    verdicts = [judge(case, redactor) for case in load()]
    total: dict[str, dict[str, Any]] = {}
    names = sorted({rule for v in verdicts for rule in (*v.found, *v.missed, *v.false)})
    for name in [*names, "all"]:
        counts = {
            kind: sum(getattr(v, kind).total() if name == "all" else getattr(v, kind)[name] for v in verdicts)
            for kind in ("found", "missed", "false")
        }
        total[name] = counts | {
            "precision": _ratio(counts["found"], counts["found"] + counts["false"]),
            "recall": _ratio(counts["found"], counts["found"] + counts["missed"]),
        }
    return total, verdicts


def evaluate_held_out() -> tuple[dict[str, Any], list[Verdict]]:
    """Return values and look-alikes, precision and recall of the held-out cases, and the verdicts."""
    redactor = Redactor(Policy.load("secrets"), KEY)
    verdicts = [_judge_values(case, redactor) for case in load_held_out()]
    found, missed, false = (sum(getattr(v, kind).total() for v in verdicts) for kind in ("found", "missed", "false"))
    return {
        "values": found + missed,
        "look_alikes": sum(1 for v in verdicts if not v.case.expected),
        "found": found,
        "missed": missed,
        "false": false,
        "precision": _ratio(found, found + false),
        "recall": _ratio(found, found + missed),
    }, verdicts


def _judge_values(case: Case, redactor: Redactor) -> Verdict:
    """Hold what is gone of a case against its values, whichever rule took it."""
    text, founds = redactor.text(case.text)
    n_values, n_marks = len(case.expected), len(founds)
    if n_marks and _is_exact(case, text):
        n_values, n_marks = 0, 0
    found = Counter(any=len(case.expected) - n_values)
    return Verdict(case, found, Counter(any=n_values), Counter(any=n_marks))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


# ---- cost ------------------------------------------------------------------------------------------------------------


def texts() -> dict[str, list[str]]:
    """Return three kinds of text to time: prose and code of this project, tool results, and the corpus itself."""
    sources = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "src").rglob("*.py"))[:40]]
    prose = "".join(path.read_text("utf-8") for path in sources)[:400_000]
    pieces = [prose[at : at + 2000] for at in range(0, len(prose), 2000)]
    results = [
        json.dumps(
            {"query": "notes", "total": 4, "items": [{"id": n, "title": p[:60], "text": p[:400]} for n in range(4)]}
        )
        for p in pieces[:150]
    ]
    return {"prose and code": pieces, "tool results": results, "labelled corpus": [case.text for case in load()]}


def cost(level: str, pieces: list[str]) -> dict[str, float]:
    """Return microseconds per KiB for new text and for text that was seen before, and json.loads for comparison."""
    n_kib = sum(len(piece.encode()) for piece in pieces) / 1024
    policy = Policy.load(level)
    warm = Redactor(policy, KEY)
    bodies = [json.dumps({"messages": [{"role": "user", "content": piece}]}) for piece in pieces]

    def new() -> None:
        redactor = Redactor(policy, KEY)
        for piece in pieces:
            redactor.text(piece)

    figures = {
        "new_us_per_kib": _best(new) / n_kib,
        "seen_us_per_kib": _best(lambda: [warm.text(piece) for piece in pieces]) / n_kib,
        "json_loads_us_per_kib": _best(lambda: [json.loads(body) for body in bodies]) / n_kib,
    }
    figures["new_to_json_loads"] = figures["new_us_per_kib"] / figures["json_loads_us_per_kib"]
    figures["seen_to_json_loads"] = figures["seen_us_per_kib"] / figures["json_loads_us_per_kib"]
    return {name: round(value, 2) for name, value in figures.items()}


def history_cost() -> dict[str, float]:
    """Return microseconds for a request with a history of 100 messages: decoding it, redacting it first and again."""
    history: list[dict[str, Any]] = [system("You are a helpful assistant. " * 20)]
    for i in range(33):
        asked = call("tarx_recall", {"query": f"fact {i}"}, f"call-{i:06}")
        history += [user(f"Question {i} " + "some words " * 20), assistant(None, asked)]
        history.append(result(f"call-{i:06}", {"facts": f"text {i} " * 60}))
    raw = raw_exchange(history, assistant("ok"), tools=TOOLS)
    item = decode(raw)
    policy = Policy.load("secrets")
    warm = Redactor(policy, KEY)
    warm.exchange(item)
    return {
        "messages": len(history),
        "kib": round(len(raw.request_body) / 1024),
        "decode_us": round(_best(lambda: decode(raw))),
        "new_us": round(_best(lambda: Redactor(policy, KEY).exchange(item))),
        "seen_us": round(_best(lambda: warm.exchange(item))),
    }


def _best(function: Callable[[], object]) -> float:
    """Return microseconds of processor time: the median of the three best of nine runs."""
    times = []
    for _ in range(9):
        start = time.process_time()  # not the time that others on this machine take
        function()
        times.append((time.process_time() - start) * 1e6)
    return statistics.median(sorted(times)[:3])


def measure() -> dict[str, Any]:
    """Return everything."""
    rules, verdicts = evaluate()
    kinds = texts()
    held_out = json.loads(HISTORY.read_text("utf-8")) | {"now": evaluate_held_out()[0]}
    return {
        "baseline": "json.loads of the same text as the content of a message",
        "cases": len(verdicts),
        "values": sum(len(v.case.expected) for v in verdicts),
        "cases_without_values": sum(1 for v in verdicts if not v.case.expected),
        "rules": rules,
        "held_out": held_out,
        "history": history_cost(),
        "cost": {level: {name: cost(level, pieces) for name, pieces in kinds.items()} for level in ("secrets", "all")},
    }


# ---- output ----------------------------------------------------------------------------------------------------------


def tables(figures: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    n_decoys = figures["cases_without_values"]
    head = f"{figures['cases']} labelled texts with {figures['values']} values; {n_decoys} of them only look as if."
    lines = [head, "", "| rule | values | precision | recall |", "|---|---:|---:|---:|"]
    for name, row in figures["rules"].items():
        n_values = row["found"] + row["missed"]
        lines.append(f"| {name} | {n_values} | {_percent(row['precision'])} | {_percent(row['recall'])} |")
    lines += ["", *_held_out_table(figures["held_out"])]
    lines += ["", "| level | text | new, µs/KiB | × json.loads | seen before, µs/KiB | × json.loads |"]
    lines.append("|---|---|---:|---:|---:|---:|")
    for level, kinds in figures["cost"].items():
        for kind, row in kinds.items():
            lines.append(
                f"| {level} | {kind} | {row['new_us_per_kib']:.0f} | {row['new_to_json_loads']:.1f} "
                f"| {row['seen_us_per_kib']:.1f} | {row['seen_to_json_loads']:.1f} |"
            )
    history = figures["history"]
    lines.append("")
    lines.append(
        f"A request with a history of {history['messages']} messages ({history['kib']} KiB): decoding "
        f"{history['decode_us'] / 1000:.1f} ms, redaction {history['new_us'] / 1000:.1f} ms for the first time and "
        f"{history['seen_us'] / 1000:.1f} ms when it is sent again."
    )
    return "\n".join(lines)


def _held_out_table(stages: dict[str, dict[str, Any]]) -> list[str]:
    now = stages["now"]
    lines = [
        f"Held out: {now['values']} values and {now['look_alikes']} texts that only look as if.",
        "",
        "| rules | found | false alarms | precision | recall |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, row in stages.items():
        ratios = f"{_percent(row['precision'])} | {_percent(row['recall'])}"
        lines.append(f"| {name} | {row['found']} | {row['false']} | {ratios} |")
    return lines


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def write_docs(text: str) -> None:
    """Put the tables between the markers of the page."""
    begin, end = "<!-- redaction:begin -->", "<!-- redaction:end -->"
    page = DOCS.read_text("utf-8")
    head, _, rest = page.partition(begin)
    tail = rest.partition(end)[2]
    DOCS.write_text(f"{head}{begin}\n{text}\n{end}{tail}", "utf-8")


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--docs", action="store_true", help="write the tables in docs/redaction.md")
    parser.add_argument("--misses", action="store_true", help="show what was missed and what was a false alarm")
    parser.add_argument("--held-out", action="store_true", help="print the figures of the held-out cases only")
    options = parser.parse_args()
    if options.held_out:
        figures, verdicts = evaluate_held_out()
        print(json.dumps(figures))
        _show(verdicts if options.misses else [], Redactor(Policy.load("secrets"), KEY))
        return 0
    figures = measure()
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(tables(figures))
    if options.docs:
        write_docs(tables(figures))
    if options.misses:
        _show(evaluate()[1], Redactor(Policy.load("all"), KEY))
    return 0


def _show(verdicts: list[Verdict], redactor: Redactor) -> None:
    for verdict in verdicts:
        if verdict.missed.total() or verdict.false.total():
            print(f"{verdict.case.id}: missed {dict(verdict.missed)}, false {dict(verdict.false)}")
            print(f"    {redactor.text(verdict.case.text)[0]!r}")


if __name__ == "__main__":
    raise SystemExit(main())
