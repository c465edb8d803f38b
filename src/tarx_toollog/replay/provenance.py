"""Where the arguments of an expected call come from: what the user just said, an earlier result, or nowhere.

*Theory.* A value that stands in what the model was shown was copied; one that stands nowhere was made up by rule: a
summary, a title, a search term in other words. Copied values have to be right to the letter, and how far back they
were said is what makes a chain hard. The latest place counts, and what a tool returned before what people said, since
a value that is in both was looked up.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.canonical import Json
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.shown import Shown, leaves

__all__ = ["Origin", "Source", "copied_from", "leaves", "origins", "schema_of"]

Source = Literal["turn", "result", "earlier", "system", "default", "enum", "generated"]
"""``turn``: what the user said last; ``result``: what a tool returned; ``earlier``: what was said before that, by the
user or the model; ``system``: the system prompt; ``default`` and ``enum``: the schema; ``generated``: nowhere."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value of the arguments comes from."""

    path: str
    """JSON pointer within the arguments."""
    source: Source
    message: int | None = None
    """Place of the message that holds it, from 0; None when none does."""


def origins(
    call: Call, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None = None
) -> tuple[Origin, ...]:
    """Return where every string and number in the arguments of a call comes from.

    Args:
        call: The expected call.
        messages: What the model was shown.
        schema: Of the arguments, as offered.

    Example:
        >>> shown = [{"role": "user", "content": "Where is order 4711?"}]
        >>> origins(Call("find", {"order": 4711, "note": "late"}), shown)
        (Origin(path='/order', source='turn', message=0), Origin(path='/note', source='generated', message=None))
    """
    return tuple(_origins(call, Shown(messages), schema))


def copied_from(places: Sequence[int], shown: Shown) -> tuple[Source, int] | None:
    """Return which of the places that hold a value it was taken from; None for a value that stands nowhere."""
    results = [place for place in places if shown.role(place) == "tool"]
    if results:
        return "result", results[-1]
    if shown.turn in places:
        return "turn", shown.turn
    said = [place for place in places if shown.role(place) not in ("system", "developer")]
    if said:
        return "earlier", said[-1]
    return ("system", places[-1]) if places else None


def schema_of(path: str, schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the schema of the argument that a JSON pointer leads into; empty where it has none."""
    properties = (schema or {}).get("properties")
    found = properties.get(path.split("/")[1]) if isinstance(properties, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _origins(call: Call, shown: Shown, schema: Mapping[str, Any] | None) -> Iterator[Origin]:
    for path, value in leaves(call.arguments or {}):
        copied = copied_from(shown.places(value), shown)
        if copied is not None:
            yield Origin(path, *copied)
        else:
            yield Origin(path, _of_schema(value, schema_of(path, schema)))


def _of_schema(value: Json, schema: Mapping[str, Any]) -> Source:
    if "default" in schema and schema["default"] == value:
        return "default"
    choices = schema.get("enum")
    return "enum" if isinstance(choices, list) and value in choices else "generated"
