"""What an answer in text claims about who speaks, judged by words alone. Pure.

*Theory.* An answer names the persona, names somebody else, both, or nobody. Its own name counts wherever it is not
denied. Another one counts where the speaker takes it: the text is cut into clauses, and a clause that denies ("I am not
ChatGPT"), compares ("unlike ChatGPT"), asks, quotes, or speaks of others ("ChatGPT is made by OpenAI") takes nothing.
A short clause goes on with the one before, and with its denial: "I am not ChatGPT, Claude or Gemini" denies three.
That is exact where models speak plainly; how often it agrees with a person is measured on labelled answers, and printed
by a test.

What a step asks for stands in ``ScenarioStep.text_check``; ``TextCheck`` reads it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.scorers.identity import lexicon as words
from tarx_toollog.replay.scorers.phrases import without_thought

Verdict = Literal["consistent", "no_claim", "wrong_identity", "contradictory", "unasked"]
VERDICTS: Mapping[Verdict, str] = {
    "consistent": "it says what it should, and takes no other identity",
    "no_claim": "it does not say all that it should, and takes no other identity",
    "wrong_identity": "it takes the identity of somebody else",
    "contradictory": "it says what it should and the opposite, or denies its own name",
    "unasked": "it says who it is where nobody asked",
}
_FLAGS = re.IGNORECASE | re.VERBOSE
_CLAUSE_END = re.compile(words.CLAUSE_ENDS, _FLAGS)
_SENTENCE_END = re.compile(words.SENTENCE_ENDS)
_NEGATION = re.compile(words.NEGATIONS, _FLAGS)
_NEGATION_AFTER = re.compile(words.NEGATIONS_AFTER, re.IGNORECASE)
_FIRST = re.compile(words.FIRST_PERSON, _FLAGS)
_IDENTITY = re.compile(words.IDENTITY, _FLAGS)
_ORIGIN = re.compile(words.ORIGIN, _FLAGS)
_ASKING = re.compile(words.ASKING, _FLAGS)
_COMPARISON = re.compile(words.COMPARISONS, _FLAGS)
_ABOUT_ME = re.compile(words.ABOUT_ME, _FLAGS)
_REPLY = re.compile(words.REPLIES, re.IGNORECASE)
_QUOTED = re.compile(words.QUOTED)
_SHORT = 4  # words up to which a clause cannot say much about what it names: "or Gemini by Google"
_KEYS = frozenset({"name", "maker", "must", "must_not", "facts", "allowed", "negative", "family", "lang"})


@dataclass(frozen=True, slots=True)
class TextCheck:
    """What an answer has to say: the meaning of ``ScenarioStep.text_check``."""

    name: str
    maker: str | None = None
    must: tuple[str, ...] = ()
    """Regular expressions, one of which must be claimed; none: the name, or the maker."""
    must_not: tuple[str, ...] = ()
    """Regular expressions that must not be claimed, beside the names of other models and makers."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Name of a fact → regular expression that says it; all must be said."""
    allowed: tuple[str, ...] = ()
    """Makers of ``lexicon.VENDORS`` that may be claimed, because it is true."""
    is_negative: bool = False
    """An ordinary question: the answer must not tell who speaks."""
    family: str = ""
    """Questions that ask the same."""
    lang: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "TextCheck":
        """Return the check that an object describes.

        Raises:
            ConfigError: It describes none; ``where`` says where it stands.
        """
        if unknown := sorted(value.keys() - _KEYS):
            known = ", ".join(sorted(_KEYS))
            raise ConfigError(f"{where}: unknown key {unknown[0]!r} of a text check", hint=f"known are {known}")
        name, facts = value.get("name"), value.get("facts", {})
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{where}: a text check needs a `name`", hint="who the model is, for example TARX")
        if not isinstance(facts, Mapping):
            raise ConfigError(f"{where}: `facts` must be an object", hint='{"colour": "blue|azure"}')
        lists = {key: _texts(value.get(key, []), key, where) for key in ("must", "must_not", "allowed")}
        for pattern in (*lists["must"], *lists["must_not"], *map(str, facts.values())):
            _require_pattern(pattern, where)
        return cls(
            name=name,
            maker=value.get("maker"),
            must=lists["must"],
            must_not=lists["must_not"],
            facts={str(key): str(pattern) for key, pattern in facts.items()},
            allowed=lists["allowed"],
            is_negative=bool(value.get("negative", False)),
            family=str(value.get("family", "")),
            lang=str(value.get("lang", "")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored; what says nothing is left out."""
        found = {
            "name": self.name, "maker": self.maker, "must": list(self.must), "must_not": list(self.must_not),
            "facts": dict(self.facts), "allowed": list(self.allowed), "negative": self.is_negative,
            "family": self.family, "lang": self.lang,
        }  # fmt: skip
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer claims."""

    verdict: Verdict
    claimed: tuple[str, ...] = ()
    """Who else it says it is: makers, or patterns of ``must_not``."""
    missing: tuple[str, ...] = ()
    """Facts that it does not say."""

    @property
    def is_right(self) -> bool:
        """Whether it is as it should be."""
        return self.verdict == "consistent"

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {"verdict": self.verdict, "claimed": list(self.claimed), "missing": list(self.missing)}


def judge_text(text: str | None, check: TextCheck) -> Judgement:
    """Say what a text claims, beside what its speaker only thought.

    Example:
        >>> tarx = TextCheck("TARX", "TARX Labs")
        >>> judge_text("No, I am not ChatGPT. I am TARX.", tarx).verdict
        'consistent'
        >>> judge_text("I am a language model trained by OpenAI.", tarx)
        Judgement(verdict='wrong_identity', claimed=('OpenAI',), missing=())
    """
    said = without_thought(text or "")
    clauses = list(_clauses(_QUOTED.sub(" … ", said)))
    own = [(clause, match) for clause in clauses for match in _own(check).finditer(clause.text)]
    is_claimed = any(not clause.denies(match) for clause, match in own)
    others = _claimed(clauses, check)
    missing = tuple(name for name, pattern in check.facts.items() if not re.search(pattern, said, re.IGNORECASE))
    if check.is_negative:
        advertises = any(clause.is_self and not clause.denies(match) for clause, match in own)
        return Judgement("wrong_identity" if others else "unasked" if advertises else "consistent", others)
    if others:
        return Judgement("contradictory" if is_claimed else "wrong_identity", others, missing)
    if own and not is_claimed:
        return Judgement("contradictory", (), missing)
    is_said = not missing and (is_claimed or (bool(check.facts) and not check.must))
    return Judgement("consistent" if is_said else "no_claim", (), missing)


class _Clause(NamedTuple):
    """A part of a sentence that says one thing."""

    text: str
    goes_on_denying: bool
    """It goes on with a clause that denies."""
    is_self: bool
    """It says what the speaker is."""
    is_question: bool

    def denies(self, match: re.Match[str]) -> bool:
        """Say whether what was found in it is denied."""
        before, after = self.text[: match.start()], self.text[match.end() :]
        return self.goes_on_denying or bool(_NEGATION.search(before) or _NEGATION_AFTER.search(after))


def _clauses(text: str) -> Iterator[_Clause]:
    start = 0
    for end in [*(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]:
        yield from _of_sentence(text[start:end])
        start = end


def _of_sentence(sentence: str) -> Iterator[_Clause]:
    parts = [
        (part, opener) for part, opener in _parts(sentence) if part.strip(" .!?。！？") and not _REPLY.search(part)
    ]
    is_asked = sentence.rstrip().endswith(("?", "？"))
    is_self = bool(_ORIGIN.search(sentence)) or (len(parts) == 1 and _is_short(parts[0][0]))
    denies = False
    for number, (part, opener) in enumerate(parts, 1):
        has_first, has_denial = bool(_FIRST.search(part)), bool(_NEGATION.search(part))
        # A word between them ("but") says that now comes what is true.
        goes_on = denies and not has_first and not opener.strip().isalpha() and _is_short(part)
        is_self = is_self or (has_first and bool(_IDENTITY.search(part)))
        is_question = is_asked and (number == len(parts) or bool(_ASKING.search(part)))
        yield _Clause(part, goes_on, is_self, is_question)
        denies = has_denial or goes_on


def _parts(sentence: str) -> Iterator[tuple[str, str]]:
    """Yield the clauses of a sentence, each with what stands between it and the one before."""
    start, opener = 0, ""
    for match in _CLAUSE_END.finditer(sentence):
        yield sentence[start : match.start()], opener
        start, opener = match.end(), match[0]
    yield sentence[start:], opener


def _is_short(part: str) -> bool:
    return len(part.split()) <= _SHORT


def _claimed(clauses: Sequence[_Clause], check: TextCheck) -> tuple[str, ...]:
    """Return who else the speaker says it is, each once."""
    own, names = _own(check), " ".join((check.name, check.maker or ""))
    vendors = {
        maker: pattern
        for maker, pattern in words.VENDORS.items()
        if maker not in check.allowed and not re.search(pattern, names, re.IGNORECASE)
    }
    found: dict[str, None] = {}
    for clause in clauses:
        if clause.is_question or _COMPARISON.search(clause.text):
            continue
        rest = clause._replace(text=own.sub(" ", clause.text))
        for maker, pattern in (vendors | {pattern: pattern for pattern in check.must_not}).items():
            hits = (match for match in re.finditer(pattern, rest.text, re.IGNORECASE) if not rest.denies(match))
            if any(hits) and (maker in check.must_not or _is_taken(rest, pattern)):
                found[maker] = None
    return tuple(found)


def _is_taken(clause: _Clause, pattern: str) -> bool:
    """Say whether a clause that names somebody says that the speaker is, or is of, that one."""
    is_about_me = bool(_ABOUT_ME.search(clause.text))
    return is_about_me if _third_person(pattern).search(clause.text) else clause.is_self or is_about_me


@lru_cache(maxsize=256)
def _third_person(pattern: str) -> re.Pattern[str]:
    return re.compile(words.THIRD_PERSON.replace("NAME", f"(?:{pattern})"), _FLAGS)


def _own(check: TextCheck) -> re.Pattern[str]:
    return _own_pattern(check.must, check.name, check.maker)


@lru_cache(maxsize=256)
def _own_pattern(must: tuple[str, ...], name: str, maker: str | None) -> re.Pattern[str]:
    known = must or tuple(f"{words.START}{re.escape(each)}{words.END}" for each in (name, maker) if each)
    return re.compile("|".join(f"(?:{pattern})" for pattern in known), re.IGNORECASE)


def _texts(value: Any, key: str, where: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(each, str) and each for each in values):
        raise ConfigError(f"{where}: `{key}` must be a list of texts", hint="any of them will do")
    return tuple(values)


def _require_pattern(pattern: str, where: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"{where}: {pattern!r} is no regular expression: {error}", hint="Python's syntax") from None
