"""Answers to a case of which it is known whether they are right: the canonical one, and what small changes make of it.

Each kind of change says what it plants: a failure code, or nothing (``HARMLESS``). That is the truth about the change,
found without a checker. Where BFCL's rules cannot see it, ``SEEN_OTHERWISE`` says why.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tarx_toollog.replay.bfcl import BfclCase
from tarx_toollog.replay.matching import Call
from tests.bfcl.places import HARMLESS, NOT_HERE, canonical, places_of, with_value
from tests.bfcl.values import ON_VALUE
from tests.bfcl.whole_answers import ON_ANSWER

SEEN_OTHERWISE = {
    "digit punctuation removed": "BFCL deletes . , - / also between digits",
    "separators removed": "BFCL deletes . - / _ also in paths, dates and names",
    "value outside the enum": "BFCL reads no enum; it calls that another value",
    "enum in other letters": "BFCL folds the case of any text",
    "nothing for what may be left out": "BFCL says that by listing the empty text among the values",
    "integer as float": "BFCL wants an int of Python",
    "default given": "BFCL reads no default; it accepts it where the answers list it",
    "default left out": "BFCL reads no default; it accepts that where the answers say so",
}
"""Kinds on which BFCL's rules and the truth part."""


@dataclass(frozen=True, slots=True)
class Output:
    """One answer to a case."""

    kind: str
    planted: str
    """The failure code of what is wrong with it, or ``HARMLESS``."""
    calls: tuple[Call, ...]


def outputs(case: BfclCase) -> Iterator[Output]:
    """Yield the canonical answer and one answer of each kind that can be made of it, always the same ones."""
    made = canonical(case)
    yield Output("canonical", HARMLESS, made)
    places = [place for number, call in enumerate(made) for place in places_of(case, number, call)]
    for kind, (planted, on_answer) in ON_ANSWER.items():
        changed = on_answer(case, list(made), random.Random(f"{case.id} {kind}"))
        if changed is not None:
            yield Output(kind, planted, tuple(changed))
    for kind, (planted, on_value) in ON_VALUE.items():
        order = random.Random(f"{case.id} {kind}").sample(places, len(places))
        found = ((place, on_value(place)) for place in order)
        place, value = next((found for found in found if found[1] is not NOT_HERE), (None, None))
        if place is not None:
            yield Output(kind, planted, with_value(made, place, value))


def kinds() -> list[str]:
    """Return all kinds, in the order of the table."""
    return ["canonical", *ON_ANSWER, *ON_VALUE]
