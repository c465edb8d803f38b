"""Identity examples: who the model is, asked in all the surroundings in which it will be asked.

*Theory.* A model learns the surroundings together with the answer. Identity rows without tools teach "no tools: TARX,
tools: whoever I was before"; rows with one system prompt teach "with that prompt". So each row gets a system prompt by
shares (its own, a general one, none, and one that gives another name, which the model must then use), the real list of
tools, and the questions of some groups are asked again after a real dialogue with calls. All of that is decided by
hashes of the row and the seed: a row that is added changes nothing about the others.

A dialogue and what is asked behind it must come to the same split, and so must all paraphrases of the question. So a
group is asked behind one dialogue only: else it would tie many conversations together.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import isclose

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Example, Message, Origin, Piece, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.chat import pieces_of, tools_piece
from tarx_toollog.export.sources.identity_file import IdentityNames, IdentityRow
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.log_sample import LogSample

GENERIC_PROMPTS = (
    "You are a helpful assistant.",
    "Answer the user's questions.",
    "Be brief and exact.",
    "You help with everyday work. Use tools where they help.",
)
OTHER_NAMES = (("Nora", "Fjordlicht"), ("Otto", "Birkenwerk"), ("Mira", "Lantern & Sons"), ("Juno", "Kestrel Systems"))
"""Names that no model has, each with a maker."""
MAX_RENAMED = 200
"""Characters of an answer up to which it is taken to say a name and little else, so that another name fits."""


@dataclass(frozen=True, slots=True)
class SystemShares:
    """How often a row gets which system prompt; together 1. The defaults are rules of thumb, not measured."""

    own: float = 0.6
    """The one that the log used most."""
    none: float = 0.15
    generic: float = 0.15
    other_name: float = 0.1
    """One that gives another name; the answer gives it, too. Rows that this does not fit get the own one."""

    def __post_init__(self) -> None:
        shares = (self.own, self.none, self.generic, self.other_name)
        if min(shares) < 0 or not isclose(sum(shares), 1, abs_tol=1e-6):
            hint = "give four numbers from 0 to 1 that make 1 together"
            raise ConfigError(f"the shares of system prompts are {shares}", hint=hint)

    def kind(self, place: float) -> str:
        """Return the kind at a place from 0 to 1."""
        if place < self.other_name:
            return "other_name"
        if place < self.other_name + self.generic:
            return "generic"
        return "none" if place < self.other_name + self.generic + self.none else "own"


@dataclass(frozen=True, slots=True)
class IdentityOptions:
    """How identity rows become examples."""

    names: IdentityNames = field(default_factory=IdentityNames)
    shares: SystemShares = field(default_factory=SystemShares)
    tools_share: float = 1.0
    """Share of the rows that get the list of tools which the log offered most."""
    chain_share: float = 0.2
    """Share of the groups of paraphrases whose questions are asked once more, after a dialogue with calls."""
    system_prompt: str | None = None
    """The own system prompt; None takes the one that the log used most."""
    injected_identity: str | None = None
    """What the chat template says in place of a missing system prompt, where that gives another identity."""
    seed: int = 0


def identity_examples(
    rows: Sequence[IdentityRow], intake: Intake, normaliser: Normaliser, sample: LogSample, options: IdentityOptions
) -> Iterator[Example | Refused]:
    """Yield the examples of a file of identity rows, and those that are left out with their reason.

    Args:
        rows: From ``identity_file.read_identity``.
        intake: Keeps what is to be told about the file.
        normaliser: Makes canonical messages; also cleans them.
        sample: Gives the system prompt, the tools and the dialogues of the log.
        options: How rows become examples.

    Raises:
        ConfigError: No row is fit to be learned.
    """
    maker = _Maker(intake, normaliser, sample, options)
    for row in rows:
        for make in (maker.plain, maker.after_chain):
            origin = Origin(file=intake.file, line=row.line)
            try:
                example = make(row, origin)
            except Dropped as dropped:
                intake.leave_out(row.line, dropped.reason)
                yield Refused("identity", origin, dropped.reason)
                continue
            if example is not None:
                intake.examples += 1
                yield example
    intake.require_examples()


class _Maker:
    """Makes examples of rows."""

    def __init__(self, intake: Intake, normaliser: Normaliser, sample: LogSample, options: IdentityOptions) -> None:
        self._intake = intake
        self._normaliser = normaliser
        self._options = options
        self._system_prompt = options.system_prompt or sample.system_prompt or f"You are {options.names.name}."
        self._tools = sample.tools
        self._carriers = sample.carriers
        if self._tools is None and options.tools_share > 0:
            intake.warn(
                0, "no_tools", "the log offered no tools, so the rows have none: the model may learn that from them"
            )

    def plain(self, row: IdentityRow, origin: Origin) -> Example:
        """Return the example of a row by itself."""
        kind, system, answer = self._surroundings(row)
        raws: list[Message] = [*row.chat, {"role": "assistant", "content": answer}]
        if system is not None:
            raws.insert(0, {"role": "system", "content": system})
        pieces, tools = pieces_of(raws, self._normaliser), self._tools_of(row)
        self._intake.kinds[f"system_{kind}"] += 1
        self._intake.kinds["with_tools" if tools is not None else "without_tools"] += 1
        return Example(pieces, tools, "identity", origin, cluster=row.cluster)

    def after_chain(self, row: IdentityRow, origin: Origin) -> Example | None:
        """Return the example that asks after a dialogue of the log; None for most rows."""
        is_simple = row.system is None and row.tools is None and not row.is_negative and len(row.chat) == 1
        chosen = self._place("chain", row.cluster) < self._options.chain_share
        if not (is_simple and chosen and self._carriers):
            return None
        carrier = self._carriers[self._pick("carrier", row.cluster, len(self._carriers))]
        asked = pieces_of([*row.chat, {"role": "assistant", "content": row.answer}], self._normaliser)
        self._intake.kinds["after_chain"] += 1
        return Example(
            messages=carrier.messages + asked,
            tools=carrier.tools,
            source="identity",
            origin=origin._replace(conversation_uid=carrier.origin.conversation_uid),
            registry=carrier.registry,
            cluster=row.cluster,
        )

    def _surroundings(self, row: IdentityRow) -> tuple[str, str | None, str]:
        """Return which system prompt a row gets, its text, and the answer that goes with it."""
        if row.system is not None:
            return "given", row.system, row.answer
        kind = self._options.shares.kind(self._place("system", row.key))
        if kind == "other_name":
            other, maker = OTHER_NAMES[self._pick("name", row.key, len(OTHER_NAMES))]
            renamed = _renamed(row, self._options.names, other, maker)
            if renamed is not None:
                return kind, f"You are {other}, an assistant made by {maker}.", renamed
        if kind == "generic":
            return kind, GENERIC_PROMPTS[self._pick("generic", row.key, len(GENERIC_PROMPTS))], row.answer
        if kind == "none" and self._options.injected_identity is None:
            return kind, None, row.answer
        if kind == "none":
            said = self._options.injected_identity
            self._intake.warn(
                row.line,
                "template_identity",
                f"gets the own system prompt: without one the chat template says {said!r}",
            )
        return "own", self._system_prompt, row.answer

    def _tools_of(self, row: IdentityRow) -> Piece | None:
        if row.tools is not None:
            return tools_piece(row.tools, self._normaliser)
        return self._tools if self._place("tools", row.key) < self._options.tools_share else None

    def _place(self, what: str, key: str) -> float:
        return self._number(what, key) / 2**64

    def _pick(self, what: str, key: str, n: int) -> int:
        return self._number(what, key) % n

    def _number(self, what: str, key: str) -> int:
        text = f"{self._options.seed}\0{what}\0{key}"
        return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


def _renamed(row: IdentityRow, names: IdentityNames, other: str, maker: str) -> str | None:
    """Return the answer under another name; None where more than the name would have to change."""
    asked, answer = str(row.chat[-1]["content"]), row.answer
    if row.is_negative or len(row.chat) > 1 or len(answer) > MAX_RENAMED or _has(asked, names.own):
        return None
    if not _has(answer, (names.name,)):
        return None
    # The longer first: the name is often a part of its maker's.
    for own, new in sorted(zip(names.own, (other, maker), strict=False), key=lambda pair: -len(pair[0])):
        parts = re.split(rf"(?<!\w){re.escape(own)}(?!\w)", answer, flags=re.IGNORECASE)
        answer = new.join(parts)
    return None if _has(answer, names.own) else answer


def _has(text: str, names: Sequence[str]) -> bool:
    folded = text.casefold()
    return any(name.casefold() in folded for name in names)
