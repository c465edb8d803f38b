"""Where the arguments of an expected call come from: what the user just said, an earlier result, or nowhere.

*Theory.* A value that stands in what the model was shown was copied; one that stands nowhere was made up by rule: a
summary, a title, a search term in other words. Copied values have to be right to the letter, and how far back they
were said is what makes a chain hard. The latest place counts, and what a tool returned before what people said, since
a value that is in both was looked up.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.canonical import Json
from tarx_toollog.replay.matching import Call

Source = Literal["turn", "result", "earlier", "system", "default", "enum", "generated"]
"""``turn``: what the user said last; ``result``: what a tool returned; ``earlier``: what was said before that, by the
user or the model; ``system``: the system prompt; ``default`` and ``enum``: the schema; ``generated``: nowhere."""

_SHORT = 2  # characters up to which a text is in every message by chance


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
    texts = [_text(message) for message in messages]
    turn = max((place for place, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    properties = (schema or {}).get("properties")
    found = []
    for path, value in leaves(call.arguments or {}):
        top = path.split("/")[1]
        of = properties.get(top) if isinstance(properties, Mapping) else None
        found.append(_origin(path, value, messages, texts, turn, of if isinstance(of, Mapping) else {}))
    return tuple(found)


def leaves(value: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Yield the strings and numbers in a value, each with its JSON pointer."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}/{number}")
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value


def _origin(
    path: str,
    value: Json,
    messages: Sequence[Mapping[str, Any]],
    texts: Sequence[str],
    turn: int,
    schema: Mapping[str, Any],
) -> Origin:
    pattern = _pattern(value)
    places = [place for place, text in enumerate(texts) if pattern is not None and pattern.search(text)]
    roles = {place: messages[place].get("role") for place in places}
    results = [place for place in places if roles[place] == "tool"]
    if results:
        return Origin(path, "result", results[-1])
    if turn in places:
        return Origin(path, "turn", turn)
    said = [place for place in places if roles[place] not in ("system", "developer")]
    if said:
        return Origin(path, "earlier", said[-1])
    if places:
        return Origin(path, "system", places[-1])
    if "default" in schema and schema["default"] == value:
        return Origin(path, "default")
    choices = schema.get("enum")
    return Origin(path, "enum" if isinstance(choices, list) and value in choices else "generated")


def _pattern(value: Json) -> re.Pattern[str] | None:
    """Return what finds a value in a text as a whole word; None for one that is too short to be found by design."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = text.strip()
    if len(text) < (_SHORT if isinstance(value, str) else 1):
        return None
    inner = r"\s+".join(map(re.escape, text.split()))
    return re.compile(rf"(?<![^\W_]){inner}(?![^\W_])", re.IGNORECASE)


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    said = [part.get("text") for part in parts if isinstance(part, Mapping)]
    texts = [text for text in said if isinstance(text, str)]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        texts.append(arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False))
    return "\n".join(texts)
