"""Decode every torture case and say what came out: the figures, and the generated parts of ``docs/torture.md``.

python -m bench.torture           print how many cases come out right; writes bench/results/torture.json
python -m bench.torture --docs    write the generated parts of docs/torture.md again

Exits with 1 when a case comes out wrong.
"""

import json
import platform
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tests.support.captures import split_at
from tests.support.limits import LIMITS
from tests.support.torture import FOLDER, Case, cases, found

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "torture.md"
RESULTS = ROOT / "bench" / "results"
PARTS = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def is_right(case: Case) -> bool:
    """Say whether a case gives what it must: in one piece, byte by byte, and in its own chunks."""
    body = case.raw.response_body
    ways = (case.raw, split_at(case.raw, []), split_at(case.raw, range(len(body))))
    return all(case.expect == found(decode(raw), case.expect) for raw in ways)


def measure() -> dict[str, Any]:
    """Return how many cases come out right, by protocol, and which do not."""
    every = cases().values()
    verdicts = {key: is_right(case) for key, case in cases().items()}
    protocols = sorted({case.protocol for case in every})
    return {
        "read": "whole, byte by byte, and in chunks of one event",
        "cases": len(verdicts),
        "right": sum(verdicts.values()),
        "by_protocol": {name: _share(verdicts, [case.protocol == name for case in every]) for name in protocols},
        "table": _share(verdicts, [case.table is not None for case in every]),
        "wrong": [key for key, right in verdicts.items() if not right],
        "limits": {"all": len(LIMITS), "noted": sum(_is_noted(limit.remarks(), limit.code) for limit in LIMITS)},
    }


def _share(verdicts: dict[str, bool], belongs: list[bool]) -> dict[str, int]:
    chosen = [right for right, is_chosen in zip(verdicts.values(), belongs, strict=True) if is_chosen]
    return {"all": len(chosen), "right": sum(chosen)}


def _is_noted(remarks: list[str], code: str) -> bool:
    return any(remark.startswith(code) for remark in remarks)


# ---- the page -------------------------------------------------------------------------------------------------------


def page(text: str) -> str:
    """Return the page with its generated parts made again."""
    return PARTS.sub(lambda match: f"{match[1]}{_PARTS[match[2]]()}\n{match[3]}", text)


def _counts() -> str:
    rows = []
    for name in dict.fromkeys(case.protocol for case in cases().values()):
        chosen = [case for case in cases().values() if case.protocol == name]
        rows.append((f"`{name}`", len(chosen), sum(map(is_right, chosen))))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    return _table(("protocol", "cases", "come out right"), rows)


def _peers() -> str:
    peers = json.loads((FOLDER / "peers.json").read_text("utf-8"))
    ours = {case.table: case for case in cases().values() if case.table}
    heads = ("scenario", "toollog", *peers["peers"])
    rows = [(row["scenario"], f"**{_says(ours[row['scenario']])}**", *row["cells"]) for row in peers["rows"]]
    versions = ", ".join(peers["versions"])
    return f"{_table(heads, rows)}\n\nPeers: {versions}."


def _quirks() -> str:
    peers = json.loads((FOLDER / "peers.json").read_text("utf-8"))
    known = {row["scenario"] for row in peers["rows"]}
    rest = [case for case in cases().values() if case.table and case.table not in known]
    return _table(("scenario", "toollog"), [(case.table, _says(case)) for case in rest])


def _limits() -> str:
    heads = ("limit", "at most", "where", "remark", "left behind")
    rows = []
    for limit in LIMITS:
        is_left = _verdict(_is_noted(limit.remarks(), limit.code))
        rows.append((limit.what, limit.most, f"`{limit.where}`", f"`{limit.code}`", is_left))
    return _table(heads, rows)


def _speed() -> str:
    figures = json.loads((RESULTS / "decode.json").read_text("utf-8"))
    heads = ("answer", "MiB", "MiB/s", "seconds per byte, largest to smallest", "times `json.loads`", "peak per byte")
    rows = []
    for name, shape in figures["shapes"].items():
        known = ["–" if shape[key] is None else shape[key] for key in ("growth", "times_json", "peak_per_byte")]
        rows.append((name, shape["mib"], shape["mib_per_s"][str(shape["mib"])], *known))
    return f"{_table(heads, rows)}\n\nPython {figures['python']}. Baseline: {figures['baseline']}."


def _fuzz() -> str:
    figures = json.loads((RESULTS / "fuzz.json").read_text("utf-8"))
    heads = ("target", "seconds", "executions", "files in the corpus", "edges reached", "features", "findings")
    rows = []
    for name, target in figures["targets"].items():
        known = ["–" if target[key] is None else f"{target[key]:,}" for key in ("coverage", "features", "findings")]
        rows.append((f"`{name}`", figures["seconds"], f"{target['executions']:,}", f"{target['corpus']:,}", *known))
    made_on = f"Revision {figures['revision']}, atheris {figures['atheris']}, Python {figures['python']}."
    return f"{_table(heads, rows)}\n\n{made_on}"


def _cases() -> str:
    rows = [(f"`{key}`", case.about, _says(case), _verdict(is_right(case))) for key, case in cases().items()]
    return _table(("case", "what it is", "what comes out", "right"), rows)


_PARTS: dict[str, Callable[[], str]] = {
    "counts": _counts,
    "peers": _peers,
    "quirks": _quirks,
    "limits": _limits,
    "speed": _speed,
    "fuzz": _fuzz,
    "cases": _cases,
}


def _says(case: Case) -> str:
    """Say in words what the decoder makes of a case."""
    exchange = decode(case.raw)
    wanted = case.expect.get("calls")
    parts = [] if wanted is None or not (wanted or _calls(exchange)) else [_calls_in_words(case, exchange)]
    outcome = f"`{exchange.outcome.value}`"
    return ", ".join([*parts, outcome])


def _calls(exchange: Exchange) -> list[Any]:
    choices = exchange.response.choices if exchange.response is not None else ()
    return [call for choice in choices for call in choice.message.tool_calls]


def _calls_in_words(case: Case, exchange: Exchange) -> str:
    wanted = case.expect["calls"]
    actual = found(exchange, {"calls": wanted})["calls"] or []
    right = sum(one == other for one, other in zip(wanted, actual, strict=False))
    cut = sum(not call.complete for call in _calls(exchange))
    more = f", {len(actual) - len(wanted)} too many" if len(actual) > len(wanted) else ""
    return f"{right} of {len(wanted)} calls{more}" + (f", {cut} marked incomplete" if cut else "")


def _verdict(right: bool) -> str:
    return "yes" if right else "NO"


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    lines += [
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the figures, and write the page when asked to."""
    figures = measure() | {"python": platform.python_version()}
    text = json.dumps(figures, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "torture.json").write_text(text + "\n", "utf-8")
    print(text)
    if "--docs" in arguments:
        PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    return int(bool(figures["wrong"]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
