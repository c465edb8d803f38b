"""Take values out of texts and JSON trees, and put joinable marks in their place. Pure; one thread at a time.

*Theory.* A text is cut at the placeholders that it has already, and the rules are applied to what is between them,
one after the other, so that no rule ever sees a placeholder. What a rule leaves may look different to the others (a
neighbour is gone), so all rules are applied again until none finds anything; therefore redacting twice changes
nothing. A text that is JSON is never searched as a text: its leaves are (``jsontree``), after their escapes have been
undone, and strings that are JSON themselves likewise.

A mark is ``LABEL:`` and 10 hex digits of HMAC-SHA256 over the kind of the rule and the value. Equal values have equal
digits whichever rule of a kind found them. 10 digits are 40 bits: among 10,000 different values of a store two share a
mark with a probability of 1 in 22,000 (n²/2⁴¹), while a placeholder stays short enough for a training text. The key
never leaves its file, so marks of guessable values (a PIN) cannot be tried out.

Histories are sent again and again. What is known of a string is kept under its hash, so a history costs its hashing.
"""

import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import NamedTuple

from tarx_toollog.canonical import Json
from tarx_toollog.redaction.jsontree import Leaf, Path, edit_text, leaves, looks_like_json, path_text, replaced
from tarx_toollog.redaction.names import NAME_ANCHORS, keeps, keeps_number, promise
from tarx_toollog.redaction.policy import Policy
from tarx_toollog.redaction.rules import Kind, Rule, Where, lower
from tarx_toollog.redaction.secret_rules import FIELD_RULE, SECRET

MARK_DIGITS = 10
CACHE_ENTRIES = 8192
CACHE_CHARS = 8 * 2**20  # of redacted texts; unchanged ones are known by their hash alone

_PLACEHOLDER = re.compile(rf"(⟦[A-Z][A-Z0-9_]{{0,39}}:[0-9a-f]{{{MARK_DIGITS}}}⟧)")
_SCHEME = re.compile(r"(?i)\b(?:bearer|basic|token|digest|apikey)\b|[\s,;:]+")
_SCHEME_BEFORE = re.compile(r"(?i)(?:token|api-?key|key|geniekey|bot|oauth|splunk|ssws)[ \t]+(?=\S+$)")
"""A scheme before a credential: it is no part of the value, which may stand elsewhere without it."""
_LONG_WORD = 16
_CARD_DIGITS = 12  # the shortest number of a card
_NAME_ANCHORS = frozenset(NAME_ANCHORS)
_MAX_PASSES = 8  # two as a rule; a text that was made to need more is not worth more
_SHORT = 96  # characters up to which a string is its own key in the cache
_NUMBER_RULE = "card"  # the one value that is dangerous as a bare number under any name


class Found(NamedTuple):
    """One value that was taken out of a text."""

    rule: str
    mark: str
    """What stands there now, without the brackets."""
    hint: str
    """The value made unreadable: at most its first two characters, and its length."""


class TreeFound(NamedTuple):
    """One value that was taken out of a tree."""

    path: Path
    found: Found


_Result = tuple[str, tuple[Found, ...]]
_NOTHING: tuple[Found, ...] = ()


class Engine:
    """Applies the rules of a policy.

    Args:
        policy: The rules in force.
        key: Key of the marks, at least 16 bytes; equal values have equal marks as long as it stays.
    """

    def __init__(self, policy: Policy, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("the key of the marks has at least 16 bytes")
        self._policy = policy
        self._key = key
        self._always = [number for number, rule in enumerate(policy.rules) if not rule.anchors]
        self._by_anchor: dict[str, list[int]] = {}
        for number, rule in enumerate(policy.rules):
            for anchor in rule.anchors:
                self._by_anchor.setdefault(anchor, []).append(number)
        self._word_anchors = _anchors(policy, "word")
        self._text_anchors = sorted({*_anchors(policy, "text"), *(NAME_ANCHORS if policy.fields else ())})
        self._number_rules = [rule for rule in policy.rules if rule.name == _NUMBER_RULE]
        self._cache: OrderedDict[str | bytes, _Result | None] = OrderedDict()
        self._held = 0
        self._taken: set[str] | None = None
        self.memo_key = object()
        """Under which messages keep what this engine made of them; not the engine, or they would keep that as well."""

    @contextmanager
    def remembering(self) -> Iterator[set[str]]:
        """Note the values that are taken out meanwhile, as they stood there."""
        self._cache.clear()  # what was found before is in it without its values
        self._held = 0
        self._taken = taken = set[str]()
        try:
            yield taken
        finally:
            self._taken = None

    @property
    def is_remembering(self) -> bool:
        """Whether the values are noted that are taken out."""
        return self._taken is not None

    def text(self, text: str) -> _Result:
        """Return a text without the values, and what was found; the same object when nothing was."""
        if self._policy.is_off or len(text) < 3:
            return text, _NOTHING
        key: str | bytes = text if len(text) <= _SHORT else _digest(text)
        if key in self._cache:
            self._cache.move_to_end(key)
            known = self._cache[key]
            return known if known is not None else (text, _NOTHING)
        result = self._text(text)
        self._remember(key, result if result[0] is not text else None)
        return result

    def tree(
        self, tree: Json, is_structural: Callable[[Path], bool] = lambda path: False
    ) -> tuple[Json, list[TreeFound]]:
        """Return a JSON value without the values, and what was found where; the same object when nothing was.

        Args:
            tree: The value; keys are never changed.
            is_structural: Says which leaves are left alone.
        """
        edits: dict[Path, Json] = {}
        founds: list[TreeFound] = []
        for leaf in () if self._policy.is_off else leaves(tree):
            new, found = self._leaf(leaf)
            path = leaf.path if found else ()
            if found and not (path and is_structural(path)):
                edits[path] = new
                founds += [TreeFound(path, one) for one in found]
        return (replaced(tree, edits) if edits else tree), founds

    def _text(self, text: str) -> _Result:
        rules, has_names = self._candidates(text)
        # An escape may hide an anchor: `https:\/\/user:pass@host`.
        if looks_like_json(text) and (rules or has_names or "\\u00" in text or "\\/" in text):
            edited = self._json(text)
            if edited is not None:
                return edited
        return self._plain(text, rules) if rules else (text, _NOTHING)

    def _json(self, text: str) -> _Result | None:
        founds: list[Found] = []

        def change(leaf: Leaf) -> Json:
            new, found = self._leaf(leaf)
            founds.extend(found)
            return new

        edited = edit_text(text, change)
        return None if edited is None else (edited, tuple(founds))

    def _leaf(self, leaf: Leaf) -> tuple[Json, tuple[Found, ...]]:
        if isinstance(leaf.value, int):
            return self._number(leaf.name, leaf.value)
        new, found = self.text(leaf.value)
        promised = promise(leaf.name) if self._policy.fields else None
        if promised is None or not keeps(promised, leaf.value, leaf.stated) or self._is_kept(leaf.value, leaf.value):
            return new, found
        if (promised in ("mixed", "code") or leaf.stated) and _PLACEHOLDER.search(leaf.value):
            return new, found  # the digits of a mark are no sign of a password
        if looks_like_json(leaf.value) and edit_text(leaf.value, lambda inner: inner.value) is not None:
            return new, found  # its own keys say what is secret in it
        if _PLACEHOLDER.search(new) and not _SCHEME.sub("", _PLACEHOLDER.sub("", new)):
            return new, found
        scheme = _SCHEME_BEFORE.match(leaf.value) if promised == "maybe" else None
        value = leaf.value[scheme.end() :] if scheme else leaf.value
        one = self._found(FIELD_RULE, "secret", SECRET, value, value)
        return f"{scheme[0] if scheme else ''}⟦{one.mark}⟧", (one,)

    def _number(self, name: str, number: int) -> tuple[Json, tuple[Found, ...]]:
        """Return what becomes of a whole number: few are secret, and only their name can tell."""
        digits = str(number)
        if len(digits) >= _CARD_DIGITS:
            text, found = self._once(digits, self._number_rules)
            if found:
                return text, found
        if not self._policy.fields or not keeps_number(name, digits) or self._is_kept(digits, digits):
            return number, _NOTHING
        one = self._found(FIELD_RULE, "secret", SECRET, digits, digits)
        return f"⟦{one.mark}⟧", (one,)

    def _plain(self, text: str, rules: list[Rule]) -> _Result:
        founds: list[Found] = []
        for _ in range(_MAX_PASSES):
            text, found = self._once(text, rules)
            if not found:
                break
            founds += found
            rules = self._candidates(text)[0]
        return text, tuple(founds)

    def _once(self, text: str, rules: Iterable[Rule]) -> _Result:
        """Apply each rule once."""
        founds: list[Found] = []
        pieces = _PLACEHOLDER.split(text) if "⟦" in text else [text]  # text, placeholder, text, …
        lowered: dict[str, str] = {}
        for rule in rules:
            made: list[str] = []
            for number, piece in enumerate(pieces):
                if number % 2 or not piece:
                    made.append(piece)
                    continue
                if piece not in lowered:
                    lowered[piece] = lower(piece)
                made += self._cut(rule, piece, lowered[piece], founds)
            pieces = made
        return "".join(pieces) if founds else text, tuple(founds)

    def _cut(self, rule: Rule, piece: str, lowered: str, founds: list[Found]) -> list[str]:
        made: list[str] = []
        at = 0
        for start, end in rule.spans(piece, lowered):
            value = piece[start:end]
            normal = rule.normalise(value) if rule.normalise else value
            if self._is_kept(value, normal):
                continue
            founds.append(self._found(rule.name, rule.kind, rule.shown, value, normal))
            made += [piece[at:start], f"⟦{founds[-1].mark}⟧"]
            at = end
        return [*made, piece[at:]]

    def _is_kept(self, value: str, normal: str) -> bool:
        return value in self._policy.keep or normal in self._policy.keep

    def _found(self, rule: str, kind: Kind, label: str, value: str, normal: str) -> Found:
        if self._taken is not None:
            self._taken.add(value)
        data = f"{kind}\0{normal}".encode("utf-8", "surrogatepass")
        digits = hmac.digest(self._key, data, "sha256").hex()[:MARK_DIGITS]
        return Found(rule, f"{label}:{digits}", masked(value))

    def _candidates(self, text: str) -> tuple[list[Rule], bool]:
        """Return the rules that may find something, and whether a name may promise a secret."""
        lowered = lower(text)
        hits = [anchor for anchor in self._text_anchors if anchor in lowered]
        if len(text) >= _LONG_WORD:
            long_words = " ".join([word for word in lowered.split() if len(word) >= _LONG_WORD])
            if long_words:
                hits += [anchor for anchor in self._word_anchors if anchor in long_words]
        if not hits and not self._always:
            return [], False
        numbers = {*self._always, *(number for anchor in hits for number in self._by_anchor.get(anchor, ()))}
        has_names = self._policy.fields and not _NAME_ANCHORS.isdisjoint(hits)
        return [self._policy.rules[number] for number in sorted(numbers)], has_names

    def _remember(self, key: str | bytes, result: _Result | None) -> None:
        self._cache[key] = result
        self._held += len(result[0]) if result else 0
        while len(self._cache) > CACHE_ENTRIES or self._held > CACHE_CHARS:
            _, old = self._cache.popitem(last=False)
            self._held -= len(old[0]) if old else 0


def masked(value: str) -> str:
    """Return a value made unreadable: its first two characters where it is long, and its length."""
    head = value[:2] if len(value) >= 8 and value[:2].isprintable() else ""
    return f"{head}… ({len(value)} characters)"


def where(path: Path, under: str = "") -> str:
    """Return a path in a tree as text, under the name of that tree."""
    inner = path_text(path)
    return f"{under}.{inner}" if under and inner and not inner.startswith("[") else under + inner


def _anchors(policy: Policy, place: Where) -> list[str]:
    return sorted({anchor for rule in policy.rules if rule.where == place for anchor in rule.anchors})


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
