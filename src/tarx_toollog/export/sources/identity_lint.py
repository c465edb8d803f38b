"""Finds answers in which the model says that it is another maker's: "I am ChatGPT", "I was trained by Alibaba".

One such answer in the log teaches what the identity examples are to unteach. To talk about other models is allowed;
only what the speaker says of itself counts.

*Theory.* A text without the name of a model or maker holds no such claim, and that settles most texts. In the others
the patterns of ``claim_patterns`` look for a first person beside the name: *I am NAME*, *as NAME, I …*, *I … made by
MAKER*, *MAKER made me*, in English, German, French, Spanish and Chinese. What stands between the two must be about the
speaker: with a negation, another subject or a preposition there, the sentence is about something else. A claim that is
asked about ("whether I am …"), that is quoted, or that stands in code is somebody else's. Some names are also those of
people and animals, so a name must end its phrase: *I am Claude Monet* is no claim.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from tarx_toollog.export.example import Example
from tarx_toollog.export.sources import claim_patterns as words

_FLAGS = re.IGNORECASE | re.MULTILINE | re.VERBOSE
_OWN_CLAUSE = re.compile(words.OWN_CLAUSE, _FLAGS)
_ASKED = re.compile(words.ASKED, re.IGNORECASE | re.VERBOSE)
_ELSEWHERE = frozenset(words.ELSEWHERE.split())
_OPENERS = frozenset(words.OPENERS.split())
_ARTICLES = frozenset(words.ARTICLES.split())
_KINDS = frozenset(words.KINDS.split())
_QUOTES = (("“", "”"), ("«", "»"))
_WORD = re.compile(r"[\w'’-]+")
_NAME_FIRST = re.compile(r"\s*[*_]*[\w-]+[*_]*,")
_SHOWN = 120
_LOOKED_AT = 64  # places for each pattern: to see whether one is quoted, all before it is looked at again


class SelfClaim(NamedTuple):
    """A place where the speaker says that it is another maker's."""

    name: str
    """The name that it gives, as written."""
    text: str
    """The words."""
    start: int
    """Place in the text."""


_LETTERS = re.compile(r"[a-z]+")


class IdentityLint:
    """Finds self-claims.

    Args:
        own: Names that the model may give itself: its own, and that of its maker.
    """

    def __init__(self, own: Sequence[str] = ()) -> None:
        self._own = frozenset(name.casefold() for name in own)
        products = [name for name in words.PRODUCTS if name.casefold() not in self._own]
        makers = [name for name in words.MAKERS if name.casefold() not in self._own]
        either = list(dict.fromkeys([*products, *makers]))
        self._names = tuple(name.casefold() for name in either)
        self._first_words = frozenset(words for name in self._names for words in _LETTERS.findall(name)[:1])
        names = {"PRODUCT": products, "MAKER": makers, "EITHER": either}
        self._patterns = [_compiled(pattern, names) for pattern in words.PATTERNS]

    def claims(self, text: str) -> tuple[SelfClaim, ...]:
        """Return the claims in a text, in order, one for each place where one begins."""
        if not text:
            return ()
        folded = text.casefold()
        if folded.isascii() and self._first_words.isdisjoint(_LETTERS.findall(folded)):
            return ()  # most answers: looking for each name would take ten times as long
        if not any(name in folded for name in self._names):
            return ()
        found: dict[int, SelfClaim] = {}
        for pattern in self._patterns:
            for claim in self._matches(pattern, text):
                found.setdefault(claim.start, claim)
        return tuple(found[start] for start in sorted(found))

    def learned_claims(self, example: Example) -> tuple[SelfClaim, ...]:
        """Return the claims in what is to be learned from an example, but for a name that its system prompt gives."""
        first = example.messages[0].value
        told = first["content"] if first["role"] == "system" else ""
        found: list[SelfClaim] = []
        for place in example.targets or (len(example.messages) - 1,):
            answer = example.messages[place].value
            for text in (answer["content"], answer.get("reasoning_content", "")):
                found += [claim for claim in self.claims(text) if not is_told(told, claim.name)]
        return tuple(found)

    def _matches(self, pattern: re.Pattern[str], text: str) -> Iterator[SelfClaim]:
        for match in islice(pattern.finditer(text), _LOOKED_AT):
            groups = match.groupdict()
            if self._is_about_speaker(groups.get("between") or "") and not _is_others(text, match.start()):
                yield SelfClaim(groups["name"] or groups["maker"], match[0][:_SHOWN], match.start())

    def _is_about_speaker(self, between: str) -> bool:
        own = _OWN_CLAUSE.sub(lambda found: found["noun"] or "", between)
        said = [word.casefold() for word in _WORD.findall(own)]
        if not said:
            return True
        if any(word in _ELSEWHERE or word.endswith(("n't", "n’t")) for word in said):
            return False
        if any(character in between for character in words.NEGATIONS):
            return False
        if said[0] in _ARTICLES:
            return not _KINDS.isdisjoint(part for word in said for part in word.split("-"))
        return said[0] in _OPENERS or said[0] in self._own or bool(_NAME_FIRST.match(between)) or not between.isascii()


def is_told(system: str, name: str) -> bool:
    """Say whether a system prompt tells the model that this is its name."""
    told = words.TOLD.replace("NAME", re.escape(name))
    return bool(system) and re.search(told, system, _FLAGS) is not None


def _compiled(pattern: str, names: dict[str, list[str]]) -> re.Pattern[str]:
    for key, values in names.items():
        # Longest first: "Tongyi Qianwen" before "Tongyi".
        listed = "|".join(re.escape(value) for value in sorted(values, key=len, reverse=True))
        pattern = pattern.replace(key, f"(?:{listed})")
    return re.compile(pattern, _FLAGS)


def _is_others(text: str, start: int) -> bool:
    """Say whether what begins here is asked about, quoted, or code."""
    if text.count("```", 0, start) % 2:
        return True
    line = text[text.rfind("\n", 0, start) + 1 : start]
    if line.startswith(">") or line.count('"') % 2 or line.count("`") % 2:
        return True
    pairs = [("„", "“")] if "„" in line else _QUOTES
    if any(line.rfind(opening) > line.rfind(closing) for opening, closing in pairs):
        return True
    sentence = line[max(line.rfind(mark) for mark in ".!?:") + 1 :]
    return _ASKED.search(sentence) is not None
