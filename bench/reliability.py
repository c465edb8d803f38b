"""Write the figures of the last kills and the last soak into ``docs/reliability.md``.

python -m bench.reliability      the benches do it by themselves when they end
"""

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
RESULTS = ROOT / "bench" / "results"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_KINDS = {
    "instant_sse": "at the last byte of a stream",
    "instant_json": "at the last byte of a JSON answer",
    "random": "at any moment, under {streams} streams",
}


def kills_block(found: dict[str, Any]) -> str:
    """Return the table of the kills."""
    lines = ["| killed | kills | delivered | lost | integrity |", "|---|---|---|---|---|"]
    for name, what in _KINDS.items():
        one = found[name]
        cells = (what.format(**found), one["kills"], f"{one['delivered']:,}", one["lost"], one["integrity"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    one = found["random"]
    lag = one["not_kept_of_these_ms"]
    cut, due = f"{one['cut_in_the_middle']:,}", found["checkpoint_ms"]
    kept = f"{lag['p50']} ms (p50), {lag['p99']} ms (p99), {lag['max']} ms (most)"
    text = f"Of {cut} streams that a kill cut in the middle, the log has what their clients had up to {kept} before it"
    lines += ["", f"{text}; a checkpoint was due every {due} ms."]
    return "\n".join(lines)


def soak_block(found: dict[str, Any]) -> str:
    """Return the ledger of the soak."""
    names = ("asked", "answered", "identical", "different", "left", "cut_by_a_kill", "no_answer")
    rows = {
        **{name: found[name] for name in names},
        "stored": sum(found["stored"].values()),
        "gaps": sum(found["gaps"].values()),
        **{name: found[name] for name in ("put_aside", "lost", "drain_s", "most_memory_mib", "integrity")},
    }
    faults = ", ".join(f"{n} × {name}" for name, n in found["faults"].items())
    lines = ["| ledger | |", "|---|---|"]
    for name, value in rows.items():
        shown = f"{value:,}" if isinstance(value, int) else value
        lines.append(f"| {name.replace('_', ' ')} | {shown} |")
    return "\n".join([*lines, "", f"In {found['seconds']:.0f} s: {faults}."])


def page(text: str, results: Path = RESULTS) -> str:
    """Return the page with the figures of the kept results."""
    blocks = {"kills": kills_block, "soak": soak_block}

    def filled(match: re.Match[str]) -> str:
        found = json.loads((results / f"{match[2]}.json").read_text("utf-8"))
        return f"{match[1]}{blocks[match[2]](found)}\n{match[3]}"

    return _BLOCK.sub(filled, text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
