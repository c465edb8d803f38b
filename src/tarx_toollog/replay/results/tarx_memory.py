"""A simulator of ``tarx_remember``, ``tarx_recall`` and ``tarx_save_conversation``: one store in memory. Pure.

*Theory.* ``tarx_recall`` finds the facts that hold one of the query's words, those of three letters and more, in key
or value; ``tarx_remember`` sets a fact by its key. The store before the turn is seen only through the recalls of the
turn. A recall shows, for each of its words, all facts with that word, except those whose key had been written in the
turn already: what stood there before is covered up. So a query is answered when each of its words was recalled in the
log, and each key that was covered up then has a known value by now. Anything else cannot be known.

The n-th saved conversation gets what the n-th got, where its id is a count.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.results.recording import RecordedCall, Recording
from tarx_toollog.replay.results.shapes import UnknownShapeError, Wording, learn
from tarx_toollog.replay.results.simulators import Simulated, Simulator, Unknowable

REMEMBER, RECALL, SAVE = "tarx_remember", "tarx_recall", "tarx_save_conversation"
_SHORTEST_WORD = 3


class TarxMemory:
    """The simulator, as the registry holds it."""

    tools = frozenset({REMEMBER, RECALL, SAVE})

    def make(self, recording: Recording) -> Simulator:
        """Return the store as it was before the turn, as far as the turn reveals it."""
        return MemorySimulator(recording)


class MemorySimulator:
    """The store of one attempt."""

    def __init__(self, recording: Recording) -> None:
        self._recorded = {name: [call for call in recording.calls if call.name == name] for name in TarxMemory.tools}
        self._numbers: Counter[str] = Counter()
        self._facts: dict[str, str] = {}
        self._covered_up: dict[str, frozenset[str]] = {}
        """By word that was recalled: the keys that had been written before."""
        self._is_clear = not any(_is_another_writer(call) or _failed_to_write(call) for call in recording.calls)
        self._wording: Wording | None = None
        self._member = ""
        """The member of a recall's result that holds the facts."""
        try:
            self._wording = Wording([call.result_text for call in self._successes(RECALL)])
            self._member = _member_of_facts(self._wording.values)
        except UnknownShapeError:
            self._is_clear = False
        else:
            self._reveal(recording.calls, self._wording.values)

    def call(self, name: str, arguments: Mapping[str, Any]) -> Simulated | Unknowable:
        """Make a call: change the store, and say what the tool says."""
        number = self._numbers[name]
        self._numbers[name] += 1
        if name == REMEMBER:
            self._remember(arguments)
        try:
            return Simulated(self._recall(arguments) if name == RECALL else self._acknowledge(name, arguments, number))
        except UnknownShapeError as error:
            return Unknowable(str(error))

    def _reveal(self, calls: Iterable[RecordedCall], results: Iterable[Json]) -> None:
        """Learn from the recalls of the turn what was stored before it."""
        shown = iter(results)
        written: set[str] = set()
        for call in calls:
            if call.name == REMEMBER:
                written.add(self._key_of(call.arguments or {}))
            elif call.name == RECALL:
                for word in _words((call.arguments or {}).get("query")):
                    self._covered_up.setdefault(word, frozenset(written))
                for key, value in next(shown)[self._member].items():
                    if key not in written:
                        self._facts.setdefault(key, value)

    def _key_of(self, arguments: Mapping[str, Any]) -> str:
        """Return the key that a call writes. Arguments of another form leave the store in the dark."""
        if set(arguments) != {"key", "value"} or not all(isinstance(value, str) for value in arguments.values()):
            self._is_clear = False
        return str(arguments.get("key"))

    def _remember(self, arguments: Mapping[str, Any]) -> None:
        key = self._key_of(arguments)
        self._facts.pop(key, None)  # a fact that is written again moves to the end
        self._facts[key] = str(arguments.get("value"))

    def _recall(self, arguments: Mapping[str, Any]) -> str:
        if self._wording is None or not self._is_clear:
            raise UnknownShapeError("the store cannot be known")
        values = self._wording.values
        rest = [{key: inner for key, inner in value.items() if key != self._member} for value in values]
        around = learn(rest, [{}] * len(rest), counts=False)({}, 0)
        found = self._found(arguments)
        return self._wording.write({key: found if key == self._member else around[key] for key in values[0]})

    def _found(self, arguments: Mapping[str, Any]) -> dict[str, str]:
        query = arguments.get("query")
        if set(arguments) != {"query"} or not isinstance(query, str):
            raise UnknownShapeError("it was called with other arguments than a query")
        words = _words(query)
        if unseen := [word for word in words if word not in self._covered_up]:
            raise UnknownShapeError(f"the log does not show what is stored about {unseen[0]!r}")
        covered = {key for word in words for key in self._covered_up[word]} - set(self._facts)
        if covered:
            raise UnknownShapeError(f"the log does not show what {min(covered)!r} was before")
        return {
            key: value for key, value in self._facts.items() if any(word in f"{key} {value}".lower() for word in words)
        }

    def _acknowledge(self, name: str, arguments: Mapping[str, Any], number: int) -> str:
        calls = self._successes(name)
        given = [call.arguments or {} for call in calls]
        if any(set(each) != set(arguments) for each in given):
            raise UnknownShapeError("it was called with other arguments in the log")
        wording = Wording([call.result_text for call in calls])
        return wording.write(learn(wording.values, given, counts=name == SAVE)(arguments, number))

    def _successes(self, name: str) -> list[RecordedCall]:
        """Return the recorded calls of a tool, none of which failed: nobody knows when it fails."""
        calls = self._recorded[name]
        if not calls or any(call.is_error for call in calls):
            raise UnknownShapeError("the log does not show how it answers" if not calls else "it failed in the log")
        return calls


def _words(query: Json) -> list[str]:
    words = str(query).lower().replace("_", " ").split()
    return [word for word in words if len(word) >= _SHORTEST_WORD]


def _member_of_facts(values: list[Json]) -> str:
    """Return the one member of recorded results that holds facts by key."""
    members = [
        key
        for key in (values[0] if isinstance(values[0], dict) else ())
        if all(isinstance(value, dict) and _is_facts(value.get(key)) for value in values)
    ]
    if len(members) != 1 or any(list(value) != list(values[0]) for value in values):
        raise UnknownShapeError("its results do not hold facts by key")
    return str(members[0])


def _is_facts(value: Json) -> bool:
    return isinstance(value, dict) and all(isinstance(inner, str) for inner in value.values())


def _is_another_writer(call: RecordedCall) -> bool:
    """Say whether a call of a tool that is not simulated may have changed the same store."""
    return call.name not in TarxMemory.tools and call.name.startswith("tarx_") and call.effect != "read"


def _failed_to_write(call: RecordedCall) -> bool:
    return call.name == REMEMBER and call.is_error
