"""How well leaked calls are found: recall over recorded model outputs, false positives over ordinary answers.

python -m bench.leaked_calls [--docs]

Writes ``bench/results/leaked_calls.json``; ``--docs`` also writes the tables of ``docs/leaked-calls.md`` from it.
"""

import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import canitoolcall
from canitoolcall.fixtures import Fixture, load_fixtures

from tarx_toollog.canonical import InvalidJsonError, canonical_json, parse_json
from tarx_toollog.wire.text_calls import FORMS, MAX_CALLS, TextCall, find_calls

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "leaked_calls.json"
PAGE = ROOT / "docs" / "leaked-calls.md"
BEGIN, END = "<!-- leaked:begin -->", "<!-- leaked:end -->"
ORDINARY_TEXTS = ROOT / "tests" / "captures" / "ordinary_texts"

Call = tuple[str, bytes]
"""Name and canonical arguments."""

WRITERS: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "tool_call_tag": lambda name, values: f"<tool_call>\n{_object(name, values)}\n</tool_call>",
    "fenced_json": lambda name, values: f"```json\n{json.dumps({'name': name, 'arguments': values}, indent=2)}\n```",
    "bare_json": lambda name, values: json.dumps({"name": name, "parameters": values}, ensure_ascii=False),
    "function_tag": lambda name, values: f"<function={name}>{json.dumps(values)}</function>",
    "mistral": lambda name, values: f"[TOOL_CALLS]{name}[ARGS]{json.dumps(values)}",
    "python_tag": lambda name, values: f"<|python_tag|>{_object(name, values, 'parameters')}",
    "gpt_oss": lambda name, values: f"commentary to=functions.{name} json{json.dumps(values)}",
    "smolagents": lambda name, values: f"Calling tools:\n{[_openai(name, values)]!r}",
    "pythonic": lambda name, values: f"[{name}({', '.join(f'{key}={value!r}' for key, value in values.items())})]",
}
"""Ways to write a call in which the fixtures hold few or none."""


@dataclass(slots=True)
class Score:
    """What was found in a set of texts, compared with what stands in them."""

    texts: int = 0
    with_calls: int = 0
    answers: int = 0
    """Texts that hold no call at all."""
    unusable: int = 0
    """Texts with a call that was cut or is malformed: no whole call may be found."""
    expected: int = 0
    found: int = 0
    other_values: int = 0
    extra: int = 0
    cut_found: int = 0
    misses: list[str] = field(default_factory=list)

    def add(self, name: str, expected: list[Call], calls: Iterable[TextCall]) -> None:
        """Count one text."""
        cut = [call for call in calls if not call.complete]
        made = Counter(_call(call) for call in calls if call.complete)
        wanted = Counter(expected)
        hits = wanted & made
        names = Counter(call[0] for call in (wanted - hits).elements())
        surplus = Counter(call[0] for call in (made - hits).elements())
        self.texts += 1
        self.expected += len(expected)
        self.found += hits.total()
        self.other_values += (names & surplus).total()
        self.extra += (surplus - names).total()
        self.cut_found += bool(cut)
        if hits != wanted or surplus:
            self.misses.append(name)

    def figures(self) -> dict[str, Any]:
        """Return the score as JSON."""
        recall = round(self.found / self.expected, 4) if self.expected else None
        return {name: getattr(self, name) for name in self.__slots__} | {"recall": recall}


def score_families() -> dict[str, Score]:
    """Score every family of recorded outputs."""
    scores: dict[str, Score] = {}
    for fixture in load_fixtures():
        score = scores.setdefault(fixture.family, Score())
        expected = _expected(fixture)
        score.with_calls += bool(expected)
        score.answers += fixture.expected is not None and not expected
        score.unusable += fixture.expected_error is not None
        score.add(fixture.id, expected, find_calls(fixture.raw_output, _offered(fixture)))
    return scores


def score_rewritten() -> dict[str, Score]:
    """Score the calls of all families, each written anew in every form of ``WRITERS``, behind a sentence."""
    scores = {form: Score() for form in WRITERS}
    for fixture in load_fixtures():
        calls = () if fixture.expected is None else fixture.expected.tool_calls
        for ordinal, call in enumerate(calls):
            values = dict(call.arguments)
            for form, write in WRITERS.items():
                if form == "pythonic" and not all(key.isidentifier() for key in values):
                    continue  # a name that Python cannot write
                text = f"I will look that up.\n\n{write(call.name, values)}"
                expected = [(call.name, canonical_json(values))]
                scores[form].add(f"{fixture.id}#{ordinal}", expected, find_calls(text, _offered(fixture)))
    return scores


def ordinary_texts() -> list[dict[str, Any]]:
    """Return the corpus of ordinary answers."""
    lines = [line for path in sorted(ORDINARY_TEXTS.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


def false_positives() -> list[str]:
    """Return the ids of ordinary answers in which a call is seen."""
    return [text["id"] for text in ordinary_texts() if find_calls(text["text"], frozenset(text["offered"]))]


def total(scores: Iterable[Score]) -> Score:
    """Return the sum of scores."""
    whole = Score()
    for score in scores:
        for name in Score.__slots__:
            setattr(whole, name, getattr(whole, name) + getattr(score, name))
    return whole


def measure() -> dict[str, Any]:
    """Return all figures."""
    families, rewritten, seen = score_families(), score_rewritten(), false_positives()
    n_texts = len(ordinary_texts())
    return {
        "fixtures": f"canitoolcall {canitoolcall.__version__}",
        "families": {name: score.figures() for name, score in sorted(families.items())},
        "total": total(families.values()).figures(),
        "rewritten": {form: score.figures() for form, score in rewritten.items()},
        "ordinary": {"texts": n_texts, "with_a_call": len(seen), "share": round(len(seen) / n_texts, 4), "ids": seen},
        "speed": _speed(),
    }


def tables(figures: dict[str, Any]) -> str:
    """Return the generated part of the page: the forms, and the figures."""
    forms = ["| form | looks like | written by |", "|---|---|---|"]
    for form, info in FORMS.items():
        example = info.example.replace("|", "\\|").replace("\n", "⏎")
        needs = "" if info.is_marked else " (only for offered tools)"
        writers = info.writers.replace("|", "\\|")
        forms.append(f"| `{form}` | `` {example} ``{needs} | {writers} |")
    rows = ["| family | texts | calls in them | found | recall | other values | extra | no call | cut or malformed |"]
    rows.append("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, score in {**figures["families"], "**all**": figures["total"]}.items():
        counts = [score[key] for key in ("texts", "expected", "found")]
        rest = [score[key] for key in ("other_values", "extra", "answers", "unusable")]
        cells = [name, *counts, _percent(score["recall"]), *rest]
        rows.append(f"| {' | '.join(map(str, cells))} |")
    again = ["| form | calls | found | recall |", "|---|---:|---:|---:|"]
    for form, score in figures["rewritten"].items():
        again.append(f"| `{form}` | {score['expected']} | {score['found']} | {_percent(score['recall'])} |")
    ordinary, speed = figures["ordinary"], figures["speed"]
    seen = ", ".join(f"`{name}`" for name in ordinary["ids"]) or "none"
    share = f"{ordinary['with_a_call']} of {ordinary['texts']} ({_percent(ordinary['share'])})"
    cost = (
        f"{speed['plain_us']} µs for {speed['characters']} characters of prose, {speed['code_us']} µs for as many of "
        f"Markdown with code; reading the same as JSON takes {speed['plain_json_us']} µs and {speed['code_json_us']} µs"
    )
    paragraphs = [
        f"Recorded outputs: {figures['fixtures']}. Ordinary answers in which a call is seen: {share}; {seen}.",
        f"Cost: {cost}. At most {MAX_CALLS} calls are taken from one answer.",
    ]
    return "\n\n".join(["\n".join(forms), "\n".join(rows), "\n".join(again), *paragraphs])


def write_page(figures: dict[str, Any]) -> None:
    """Put the tables between the markers of the page."""
    page = PAGE.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(figures)}\n\n{END}{after}", "utf-8")


def _speed() -> dict[str, Any]:
    """Measure the scan of one answer against reading the same answer as JSON, which every answer needs anyway."""
    offered = frozenset({"search", "open", "print", "read_file", "write_file"})
    plain = ("The cache keeps what was asked for in the last hour, and forgets the rest. " * 60)[:4096]
    code = ("Print it:\n\n```python\nfor x in [1, 2]:\n    print({'name': x})\n```\n\n- open [it] <now>\n" * 60)[:4096]
    figures: dict[str, Any] = {"characters": len(plain)}
    for name, text in (("plain", plain), ("code", code)):
        body = json.dumps({"content": text})
        figures[f"{name}_us"] = _microseconds(partial(find_calls, text, offered))
        figures[f"{name}_json_us"] = _microseconds(partial(json.loads, body))
    return figures


def _microseconds(action: Callable[[], object]) -> float:
    times = []
    for _ in range(300):
        begin = time.perf_counter_ns()
        action()
        times.append(time.perf_counter_ns() - begin)
    return round(min(times) / 1000, 1)


def _expected(fixture: Fixture) -> list[Call]:
    calls = () if fixture.expected is None else fixture.expected.tool_calls
    return [(call.name, canonical_json(dict(call.arguments))) for call in calls]


def _offered(fixture: Fixture) -> frozenset[str]:
    return frozenset(tool["function"]["name"] for tool in fixture.tools)


def _call(call: TextCall) -> Call:
    try:
        return call.name, canonical_json(parse_json(call.arguments))
    except InvalidJsonError:
        return call.name, call.arguments.encode("utf-8", "surrogatepass")


def _object(name: str, values: dict[str, Any], key: str = "arguments") -> str:
    return json.dumps({"name": name, key: values}, ensure_ascii=False)


def _openai(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": values}}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}".replace("%", " %")


def main(arguments: list[str]) -> int:
    """Measure, write the results, and with ``--docs`` the page."""
    figures = measure() | {"python": platform.python_version()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(tables(figures))
    if "--docs" in arguments:
        write_page(figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
