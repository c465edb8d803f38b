"""What BFCL accepts of each kind of change, and what our standard profile does, as a table for the documents.

    python -m tests.bfcl.table

The standard profile gets BFCL's accepted values as rules (``oneof``), so that both know the same right answers.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.bfcl import OMITTED, BfclCase
from tarx_toollog.replay.matching import Call, Rule, cheapest_assignment, compare_arguments
from tests.bfcl.mutations import kinds, outputs
from tests.bfcl.places import HARMLESS, canonical
from tests.bfcl.ruler import python_of_bfcl, read_cases, verdicts, with_calls

MOST_VALUES = 64  # that one accepted object stands for


def main() -> None:
    python = python_of_bfcl()
    answers = [(asked, list(outputs(asked.case))) for asked in with_calls(read_cases(python))]
    with tempfile.TemporaryDirectory() as folder:
        valid = verdicts(python, [(asked, [one.calls for one in made]) for asked, made in answers], Path(folder))
    rows: dict[tuple[str, str], list[tuple[bool, bool]]] = defaultdict(list)
    for (asked, made), judged in zip(answers, valid, strict=True):
        standard = Standard(asked.case)
        for one, is_valid in zip(made, judged, strict=True):
            rows[one.kind, one.planted].append((is_valid, standard.accepts(one.calls)))
    print("| change | planted | answers | BFCL accepts | standard accepts |\n|---|---|---:|---:|---:|")
    order = kinds()
    for (kind, planted), said in sorted(rows.items(), key=lambda row: order.index(row[0][0])):
        bfcl, ours = (100 * sum(column) / len(said) for column in zip(*said, strict=True))
        code = "nothing" if planted == HARMLESS else f"`{planted}`"
        print(f"| {kind} | {code} | {len(said):,} | {bfcl:.1f} % | {ours:.1f} % |")


class Standard:
    """The standard profile with the accepted values of a case."""

    def __init__(self, case: BfclCase) -> None:
        self._schemas = case.schemas
        self._expected = canonical(case)
        self._rules = [
            {
                f"/{name}": Rule("oneof", values=values, may_omit=OMITTED in accepted)
                for name, accepted in call.arguments.items()
                if (values := _values(accepted, self._schemas[call.name]["properties"].get(name, {})))
            }
            for call in case.accepted
        ]

    def accepts(self, calls: Sequence[Call]) -> bool:
        if len(calls) != len(self._expected):
            return False
        costs = [[int(self._differ(place, call)) for call in calls] for place in range(len(calls))]
        return not any(costs[row][column] for row, column in enumerate(cheapest_assignment(costs)))

    def _differ(self, place: int, made: Call) -> bool:
        expected = self._expected[place]
        if made.name != expected.name or made.arguments is None or expected.arguments is None:
            return True
        schema = self._schemas[made.name]
        return bool(compare_arguments(expected.arguments, made.arguments, schema, self._rules[place]))


def _values(accepted: Sequence[Json], schema: Mapping[str, Any]) -> tuple[Json, ...]:
    return tuple(value for one in accepted if one != OMITTED for value in islice(_meant(one, schema), MOST_VALUES))


def _meant(accepted: Json, schema: Mapping[str, Any]) -> Iterator[Json]:
    """Yield the values that an accepted one stands for: objects list the values of each key."""
    items = schema.get("items", {})
    if schema.get("type") == "object" and isinstance(accepted, dict):
        for chosen in product(*accepted.values()):
            yield {
                key: value
                for key, value, choices in zip(accepted, chosen, accepted.values(), strict=True)
                if value != OMITTED or OMITTED not in choices
            }
    elif items.get("type") == "object" and isinstance(accepted, list):
        yield from map(list, product(*(list(_meant(item, items)) for item in accepted)))
    else:
        yield accepted


if __name__ == "__main__":
    main()
