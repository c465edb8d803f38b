"""Linking: which conversation an exchange belongs to, and which exchange it continues. Pure functions.

*Theory.* Most clients send no conversation id. They send the whole history instead, so a request that continues
a dialogue begins with messages that we have seen: the input of an earlier exchange followed by its answer.
Clients reshape that history (``null`` becomes ``""``, arguments are re-serialised, ids rewritten, reasoning
dropped), therefore histories are compared by *meaning*: role, stripped text, and for each call its name and
parsed arguments. The leading system messages stay outside: they carry dates and injected memories and change
from request to request.

``sem_chain`` gives one hash per prefix of a history. An exchange stores the hash of its input and of its input
with the answer appended (``output_sem``); a later request continues it when one of its prefixes has that hash.

Two questions are kept apart. *Which conversation?* The first source that answers wins: an id that the client gave
(header, path, body) → the inbound exchange during which this one was made (``outer``) → the response that it names
(``response_id``) → a prefix of the history → a tool-call id of ours in it (``wire_id``: sliding windows and summaries
cut the prefix off) → its latest answer with the question before it (``overlap``: the same, where no id survived) →
the same request just failed (``retry``), or had another answer that was left (``again``) → a new conversation. *Which
exchange is the parent?* The one whose answer is the last one in the history; where that cannot be told, the latest
that the source shows. ``how`` and ``confidence`` say what was used; nothing is guessed silently.

Only exchanges that began earlier are asked for (``again`` alone looks ahead), so the result does not depend on the
order of arrival: ``store.relink`` looks again at exchanges that came too early. See ``docs/linking.md``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from tarx_toollog.canonical import chain_hash, content_hash, parse_arguments
from tarx_toollog.model import Exchange, Message, ToolCall
from tarx_toollog.store.candidates import Lookup, Outer, Parent, Scope

LEADING_ROLES = frozenset({"system", "developer"})
SURE = 1.0
OVERLAP = 0.8  # an edited answer after a known question, or a known answer after it in a history that was cut
AMBIGUOUS = 0.5  # several conversations fit equally, or very little was compared
RETRY_WINDOW = timedelta(minutes=15)  # who asks the same after a longer time has begun anew
AGAIN_WINDOW = timedelta(minutes=10)  # an answer that displeases is asked for again soon; later it is a new chat
_MAX_IDS = 24  # ids of a history that are looked up: when none of the latest is ours, none is
_WEAK_ID = re.compile(r"\D{0,12}\d{1,4}")  # call_0, functions.f:1, 17: servers give these ids again and again
_THOUGHT_END = "</think>"


@dataclass(frozen=True, slots=True)
class Link:
    """Where an exchange belongs."""

    how: str | None
    """None: nowhere. Its request cannot be read, and nothing else says which conversation it is of."""
    confidence: float | None
    conversation_id: int | None
    """None with a ``how``: a new conversation is to be made."""
    turn_no: int | None = None
    step_no: int | None = None
    parent: Parent | None = None
    retry_of_id: int | None = None
    outer_id: int | None = None
    first_new: int = 0
    """Index in the history of the first message that no earlier exchange has seen."""
    assistant_echo: str | None = None
    input_sem: bytes | None = None
    """Hash of the meaning of the whole history, also of the part that the server keeps."""


class _SeenCall(NamedTuple):
    """A tool-call id in a history."""

    call_id: str
    at: int
    """Place of the message in the history."""
    call: ToolCall | None
    """The call, where the history shows more than its result."""


class _Named(NamedTuple):
    """A conversation that is given and need not be found."""

    how: str
    conversation_id: int | None


class _Match(NamedTuple):
    """An exchange that this one continues, and how that was found."""

    parent: Parent
    how: str
    confidence: float
    first_new: int
    echo_at: int | None
    """Index of the message that is the parent's answer; None when it was edited or is not there."""


def split_leading(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Split off the leading system and developer messages from the history proper."""
    n = 0
    while n < len(messages) and messages[n].role in LEADING_ROLES:
        n += 1
    return messages[:n], messages[n:]


def semantic_form(message: Message) -> list[Any]:
    """Return what a message means, without ids, key order, white space at the ends, parts and reasoning."""
    calls = [[call.name, _meaning(call)] for call in message.tool_calls]
    role = "tool" if message.role == "function" else message.role
    text = message.text
    if role == "assistant":
        text = text.rpartition(_THOUGHT_END)[2]  # servers that do not take thoughts out leave that to their clients
    form: list[Any] = [role, text.replace("\r\n", "\n").strip(), calls]
    if message.tool_results and role != "tool":  # of a tool message the text is the result
        form.append([result.text.strip() for result in message.tool_results])
    return form


def message_sem(message: Message) -> bytes:
    """Return the hash of what one message means."""
    sem: bytes | None = message.memo.get("sem")
    if sem is None:
        sem = message.memo["sem"] = content_hash("sem", semantic_form(message))
    return sem


def sem_chain(history: Iterable[Message], start: bytes | None = None) -> list[bytes]:
    """Return one hash for each prefix of ``history``: element i covers messages 0 to i, after ``start``."""
    hashes: list[bytes] = []
    for message in history:
        start = chain_hash(start, message_sem(message))
        hashes.append(start)
    return hashes


def message_hash(raw: Mapping[str, Any]) -> bytes:
    """Return the content hash of a message exactly as sent."""
    return content_hash("message", dict(raw))


def exact_hash(message: Message) -> bytes:
    """Return the same of a message that was read."""
    digest: bytes | None = message.memo.get("hash")
    if digest is None:
        digest = message.memo["hash"] = message_hash(message.raw)
    return digest


def last_answer(history: Sequence[Message]) -> int | None:
    """Return the place of the last message of the model; what follows it is new to us."""
    return next((i for i in range(len(history) - 1, -1, -1) if history[i].role == "assistant"), None)


def _after_last_answer(history: Sequence[Message]) -> int:
    last = last_answer(history)
    return 0 if last is None else last + 1


def link(exchange: Exchange, lookup: Lookup) -> Link:
    """Find the conversation, the parent, the turn and the step of an exchange."""
    outer = lookup.outer(exchange.outer_uid) if exchange.outer_uid else None
    outer_id = outer.exchange_id if outer else None
    named = _named(exchange, outer, lookup)
    request = exchange.request
    if request is None or not (request.messages or request.previous_response_id):
        if named is None:
            return Link(None, None, None, outer_id=outer_id)
        return Link(named.how, SURE, named.conversation_id, outer_id=outer_id)
    history = split_leading(request.messages)[1]
    match, start = _by_response_id(exchange, lookup), None
    if match is not None:
        start = match.parent.output_sem
    sems = sem_chain(history, start)
    match = match or _Finder(history, sems, lookup).find(exchange.client_key, named)
    input_sem = sems[-1] if sems else start
    retry = lookup.failed_with_input(input_sem, exchange.client_key) if input_sem else None
    if retry is not None and match is None and exchange.started_at - retry.started_at > RETRY_WINDOW:
        retry = None
    is_lost = named is None and match is None and retry is None
    again = _asked_again(exchange, input_sem, lookup) if is_lost and input_sem is not None else None
    how, conversation_id, confidence = _conversation(named, match, retry, again)
    turn_no, step_no = _place(history, match)
    return Link(
        how=how,
        confidence=confidence,
        conversation_id=conversation_id,
        turn_no=turn_no,
        step_no=step_no,
        parent=match.parent if match else None,
        retry_of_id=retry.exchange_id if retry else None,
        outer_id=outer_id,
        first_new=match.first_new if match else _after_last_answer(history),
        assistant_echo=_echo(history, match),
        input_sem=input_sem,
    )


def _named(exchange: Exchange, outer: Outer | None, lookup: Lookup) -> _Named | None:
    if exchange.conversation_hint is not None:
        source = exchange.hint_source or "header"
        return _Named(source, lookup.conversation_by_external_id(source, exchange.conversation_hint))
    if outer is not None and outer.conversation_id is not None:
        return _Named("outer", outer.conversation_id)
    return None


def _by_response_id(exchange: Exchange, lookup: Lookup) -> _Match | None:
    response_id = exchange.request.previous_response_id if exchange.request else None
    if response_id is None:
        return None
    parent = lookup.by_response_id(response_id, exchange.client_key, exchange.upstream)
    return None if parent is None else _Match(parent, "response_id", SURE, 0, None)


def _asked_again(exchange: Exchange, input_sem: bytes, lookup: Lookup) -> Parent | None:
    """Return the exchange whose answer this one was to replace: known when both have ended, and differ."""
    answers = exchange.response.choices if exchange.response is not None else ()
    before = lookup.answered_with_input(input_sem, exchange.client_key) if answers else None
    if before is None or exchange.started_at - before.started_at > AGAIN_WINDOW:
        return None
    is_same = before.output_sem == chain_hash(input_sem, message_sem(answers[0].message))
    return None if is_same else before


def _conversation(
    named: _Named | None, match: _Match | None, retry: Parent | None, again: Parent | None
) -> tuple[str, int | None, float]:
    if named is not None:
        return named.how, named.conversation_id, SURE
    if match is not None:
        # Whoever continues a doubtful exchange is in its conversation no more surely than that is.
        return match.how, match.parent.conversation_id, min(match.confidence, match.parent.confidence)
    if retry is not None:
        return "retry", retry.conversation_id, AMBIGUOUS
    if again is not None:
        return "again", again.conversation_id, AMBIGUOUS
    return "new", None, SURE


class _Finder:
    """Looks for the exchange that a history continues."""

    def __init__(self, history: Sequence[Message], sems: Sequence[bytes], lookup: Lookup) -> None:
        self._history = history
        self._sems = sems
        self._lookup = lookup
        self._last = last_answer(history)

    def find(self, client_key: str | None, named: _Named | None) -> _Match | None:
        """Return the parent, from the conversation that is given where it has one."""
        anywhere = Scope(client_key)
        if named is None:
            return self._in(anywhere)
        if named.conversation_id is None:
            # The first that we see of it. With a history it was forked off another conversation, or given its id late.
            return self._certain(self._in(anywhere))
        return (
            self._in(Scope(client_key, named.conversation_id))
            or self._certain(self._in(anywhere))
            or self._latest_of(named.conversation_id)
        )

    def _in(self, scope: Scope) -> _Match | None:
        return self._by_prefix(scope) or self._by_calls(scope) or self._by_overlap(scope, "overlap")

    def _certain(self, match: _Match | None) -> _Match | None:
        """Let a parent from another conversation pass only when nothing else fitted."""
        return match if match is not None and match.confidence == SURE == match.parent.confidence else None

    def _by_prefix(self, scope: Scope) -> _Match | None:
        last = self._last
        if last is None:
            return None
        hit = self._lookup.by_output([self._sems[last]], scope)
        if hit is not None:
            return self._best(hit[1], "prefix", SURE, last + 1, last)
        if last > 0 and (asked := self._lookup.by_input(self._sems[last - 1], scope)):
            # The question is ours, the answer after it is not: it was edited, or it is the second of two choices.
            sure = OVERLAP if last > 1 or scope.conversation_id is not None else AMBIGUOUS
            return self._best(asked, "prefix", sure, last + 1, None)
        ends = [i for i in range(last - 1, -1, -1) if self._history[i].role == "assistant"]
        hit = self._lookup.by_output([self._sems[i] for i in ends], scope) if ends else None
        if hit is None:
            return None
        end = next(i for i in ends if self._sems[i] == hit[0])
        match = self._best(hit[1], "prefix", SURE, end + 1, end)
        return self._later(match, self._by_overlap, end) or self._later(match, self._by_calls, end) or match

    def _later(self, match: _Match, source: Any, after: int) -> _Match | None:
        """Look in the conversation that was found for an exchange that is closer to the end of the history."""
        closer: _Match | None = source(Scope(None, match.parent.conversation_id), match.how, after)
        if closer is None or closer.parent.started_at <= match.parent.started_at:
            return None
        return closer._replace(confidence=match.confidence)

    def _by_calls(self, scope: Scope, how: str = "wire_id", after: int = -1) -> _Match | None:
        for seen in _seen_calls(self._history, after)[:_MAX_IDS]:
            fitting = [parent for parent, call in self._lookup.by_call(seen.call_id, scope) if _is_same(seen, call)]
            # An id that occurs in several conversations proves nothing.
            if len({parent.conversation_id for parent in fitting}) == 1:
                echo_at = seen.at if seen.call is not None else None
                first_new = _first_result(self._history, seen.at) if seen.call is None else seen.at + 1
                match = _Match(fitting[0], how, SURE, first_new, echo_at)
                # A final answer has no call: its exchange is closer than the one that made the last call.
                return (seen.at != self._last and self._later(match, self._by_overlap, after)) or match
        return None

    def _by_overlap(self, scope: Scope, how: str, after: int = -1) -> _Match | None:
        last = self._last
        if last is None or last <= after or (last == 0 and scope.conversation_id is None):
            return None  # an answer alone, such as a greeting, tells nothing
        answered = message_sem(self._history[last])
        asked = message_sem(self._history[last - 1]) if last > 0 else None
        given = [answer for answer in self._lookup.answers(scope) if answer.answered == answered]
        fitting = [answer.parent for answer in given if asked in (None, answer.asked)]
        if scope.conversation_id is not None:
            # Clients clear old results; in a conversation that is known the answer is enough.
            fitting = fitting or [answer.parent for answer in given]
        return self._best(fitting, how, OVERLAP, last + 1, last) if fitting else None

    def _latest_of(self, conversation_id: int) -> _Match | None:
        """The client says which conversation it is, and what it sends is no history of ours: take the latest."""
        last = self._last
        answers = self._lookup.answers(Scope(None, conversation_id)) if last is not None else []
        return _Match(answers[0].parent, "prefix", AMBIGUOUS, last + 1, None) if answers and last is not None else None

    def _best(
        self, fitting: Sequence[Parent], how: str, confidence: float, first_new: int, echo_at: int | None
    ) -> _Match:
        """Choose among candidates, latest first. Of several conversations that nobody has continued yet one is next."""
        parent = fitting[0]
        if len({candidate.conversation_id for candidate in fitting}) > 1:
            confidence = AMBIGUOUS
            continued = self._lookup.continued([candidate.exchange_id for candidate in fitting])
            parent = next((c for c in fitting if c.exchange_id not in continued), parent)
        return _Match(parent, how, confidence, first_new, echo_at)


def _seen_calls(history: Sequence[Message], after: int) -> list[_SeenCall]:
    """Return the call ids of a history, latest first, each once; with the call where it is there."""
    seen: dict[str, _SeenCall] = {}
    for index in range(len(history) - 1, after, -1):
        message = history[index]
        for call in message.tool_calls:
            if call.id_state == "ok" and (call.call_id not in seen or seen[call.call_id].call is None):
                seen[call.call_id] = _SeenCall(call.call_id, index, call)
        for result in message.tool_results:
            if result.call_id:
                seen.setdefault(result.call_id, _SeenCall(result.call_id, index, None))
    return sorted(seen.values(), key=lambda call: -call.at)


def _first_result(history: Sequence[Message], index: int) -> int:
    """Return where the results begin among which the one at ``index`` stands: parallel calls have several."""
    while index > 0 and history[index - 1].tool_results:
        index -= 1
    return index


def _is_same(seen: _SeenCall, logged: ToolCall) -> bool:
    """Say whether an id in a history means a call of ours: servers and clients give the same ids again."""
    is_weak = _WEAK_ID.fullmatch(seen.call_id) is not None
    if seen.call is None:
        return not is_weak
    return seen.call.name == logged.name and (not is_weak or _meaning(seen.call) == _meaning(logged))


def _meaning(call: ToolCall) -> Any:
    parsed = parse_arguments(call.arguments)
    return call.arguments if parsed.value is None else parsed.value


def _place(history: Sequence[Message], match: _Match | None) -> tuple[int, int]:
    """Return turn and step. A turn begins with each user message; a step is one answer of the model in it."""
    turn_no, step_no, in_prompt = 0, 1, False
    if match is not None:
        turn_no, step_no = match.parent.turn_no, match.parent.step_no + 1
    for message in history[match.first_new if match else 0 :]:
        if message.is_prompt:
            # Two user messages in a row open one turn, not two: the model is asked once.
            turn_no += 0 if in_prompt else 1
            step_no = 1
        elif message.role == "assistant":
            step_no += 1
        in_prompt = message.is_prompt
    return max(turn_no, 1), step_no


def _echo(history: Sequence[Message], match: _Match | None) -> str | None:
    """Say how the client sent our answer back."""
    if match is None or match.how == "response_id":
        return None
    last = last_answer(history)
    if last is None:
        return "missing"
    if match.echo_at != last:
        return "edited"  # the latest answer in the history is none of ours, or not any more
    is_same = exact_hash(history[match.echo_at]) == match.parent.output_hash
    return "same" if is_same else "reshaped"
