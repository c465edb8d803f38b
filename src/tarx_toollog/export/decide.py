"""Between the passes: everything that cannot be decided about one example without knowing the others.

In order: what is too long, equal rows, nearly equal rows, splits, the mix. Each looks only at what the ones before it
left. Texts are not read; what is kept of an example in memory is a few numbers.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from tarx_toollog.export import mix
from tarx_toollog.export.accounting import Accounting
from tarx_toollog.export.balance import BalanceSpec, parse_balance
from tarx_toollog.export.clusters import Quality, UnionFind, keep_best
from tarx_toollog.export.near import NearIndex
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.prior import Prior
from tarx_toollog.export.splitting import CONFLICT, NONE, Item, assign, split_of_name
from tarx_toollog.store.spool import Answer, Decision, Entry, Spool

if TYPE_CHECKING:
    from tarx_toollog.export.example import Source, Split


_EQUAL = """
SELECT first.key, entry.key FROM entry JOIN (
    SELECT hash, MIN(key) AS key FROM entry WHERE reason IS NULL GROUP BY hash HAVING COUNT(*) > 1
) AS first ON first.hash = entry.hash AND first.key < entry.key
WHERE entry.reason IS NULL ORDER BY entry.key
"""
_TALLY = """
SELECT source, calls, step_no, n_offered > 0, label, n_trained, SUM(copies) FROM entry
WHERE reason IS NULL AND split = 'train' AND answers IS NULL GROUP BY 1, 2, 3, 4, 5, 6
"""  # of a million rows a few thousand are unlike in this


def decide(spool: Spool, options: ExportOptions, near: NearIndex | None, prior: Prior) -> dict[str, float]:
    """Decide everything, in the spool.

    Args:
        spool: Filled.
        options: What was asked for.
        near: The documents of the examples by their keys; None when near duplicates are kept.
        prior: What the parent build decided.

    Returns:
        Weight of each source, those that were found for shares included; empty when nobody asked for a mix.

    Raises:
        ConfigError: The mix cannot be read or reached.
    """
    spool.drop_longer(options.max_tokens)
    if options.exact:
        spool.drop_duplicates()
    if near is not None:
        _drop_near(spool, near, options, prior)
    groups = _Groups(spool)
    if not options.exact:
        groups.add_equal(spool)
    _split(spool, options, groups, prior)
    return _mix(spool, options)


def accounted(spool: Spool) -> Accounting:
    """Return what the training split is made of: after everything was decided, and what no format says is out."""
    accounting = Accounting()
    for source, calls, step_no, has_tools, label, n_trained, n_copies in spool.figures(_TALLY):
        like = Entry(0, None, source, calls=calls, step_no=step_no, n_offered=has_tools, label=label, split="train")
        accounting.add(_meta(like._replace(n_trained=n_trained)), n_copies)
    for entry in spool.entries(only_dialogues=True):
        if entry.split == "train":
            accounting.add(_meta(entry), entry.copies)
    return accounting


class _Groups:
    """Which examples belong together: the paraphrases of one question, as their sources say, and equal rows."""

    def __init__(self, spool: Spool) -> None:
        self.sets = UnionFind(spool.n_entries + 1)
        self.is_member = bytearray(spool.n_entries + 1)
        first: dict[str, int] = {}
        for entry in spool.entries(only_grouped=True):
            self._join(first.setdefault(entry.group or "", entry.key), entry.key)

    def add_equal(self, spool: Spool) -> None:
        """Let equal rows belong together: where they are kept, none may be trained on and validated with."""
        for one, other in spool.figures(_EQUAL):
            self._join(one, other)

    def _join(self, one: int, other: int) -> None:
        self.sets.union(one, other)
        self.is_member[one] = self.is_member[other] = 1

    def of(self, key: int) -> int:
        """Return the number of the group of an example, ``NONE`` when it stands alone."""
        return self.sets.find(key) if self.is_member[key] else NONE


def _drop_near(spool: Spool, near: NearIndex, options: ExportOptions, prior: Prior) -> None:
    """Leave out what is nearly the same as something better. What is kept is unlike, so that splits need not care.

    Equal rows are no business of this: they were left out before, or are to be kept. Nor are identity rows among each
    other, which vary what is not compared: the system prompt.
    """
    threshold = options.near or 1.0
    is_in = bytearray(spool.n_entries + 1)
    for entry in spool.entries():
        is_in[entry.key] = 1
    alike = UnionFind(spool.n_entries + 1)
    members: set[int] = set()
    for one, other, _ in near.pairs(threshold, is_in.__getitem__):
        alike.union(one, other)
        members |= {one, other}
    if not members:
        return
    qualities, hashes, own = dict[int, Quality](), dict[int, bytes | None](), set[int]()
    for entry in spool.entries():
        if entry.key in members:
            qualities[entry.key], hashes[entry.key] = _quality(entry, prior), entry.hash
            if entry.source == "identity":
                own.add(entry.key)

    def is_alike(one: int, other: int) -> bool:
        if hashes[one] == hashes[other] or own.issuperset((one, other)):
            return False
        return near.similarity(one, other) >= threshold

    spool.decide(
        Decision(key, reason="near_duplicate")
        for component in alike.components()
        for key in keep_best(component, qualities.__getitem__, is_alike)[1]
    )


def _quality(entry: Entry, prior: Prior) -> Quality:
    # Somebody wrote what the model is to say of itself: a logged answer that is like it makes way.
    label = 1 if entry.source == "identity" else (entry.quality > 0) - (entry.quality < 0)
    return Quality(prior.of_example(entry.hash) is not None, label, entry.started_at or 0.0)


def _split(spool: Spool, options: ExportOptions, groups: _Groups, prior: Prior) -> None:
    moment = None if options.split_at is None else options.split_at.timestamp()
    assigned = assign(_items(spool.entries(), groups, prior), time=moment)
    spool.decide(
        Decision(key, reason=CONFLICT)
        if split is None
        else Decision(key, split, reason="eval_conversation" if split == "eval" and not options.includes_eval else None)
        for key, split in assigned
    )


def _items(entries: Iterable[Entry], groups: _Groups, prior: Prior) -> Iterator[Item]:
    numbers: dict[str, int] = {}
    for entry in entries:
        uid = entry.conversation_uid
        if uid is None:
            home = split_of_name(entry.group or (entry.hash or b"").hex())
        else:
            home = prior.of_conversation(uid) or cast("Split", entry.registry or "train")
        yield Item(
            key=entry.key,
            home=home,
            conversation=NONE if uid is None else numbers.setdefault(uid, len(numbers)),
            cluster=groups.of(entry.key),
            started_at=entry.started_at,
            prior=prior.of_example(entry.hash),
        )


def _mix(spool: Spool, options: ExportOptions) -> dict[str, float]:
    balance = parse_balance(options.balance, negatives=options.negatives, max_steps=options.max_steps)
    asked = mix.parse_mix(options.mix)
    if not asked and balance == BalanceSpec():
        return {}
    mixed = mix.decide(map(_meta, spool.entries()), asked, balance, options.seed)
    spool.decide(Decision(kept.key, None, kept.copies, kept.reason) for kept in mixed if kept.copies != 1)
    return {str(source): round(weight, 4) for source, weight in mixed.weights.items()}


def _meta(entry: Entry) -> mix.Meta:
    return mix.Meta(
        key=entry.key,
        hash=entry.hash or b"",
        source=cast("Source", entry.source),
        split=cast("Split", entry.split),
        n_trained=entry.n_trained or 0,
        calls=tuple(entry.calls.split(">")) if entry.calls else (),
        has_tools=entry.n_offered > 0,
        step_no=entry.step_no or 1,
        conversation=entry.conversation_uid,
        label=None if entry.label is None else bool(entry.label),
        answers=() if entry.answers is None else tuple(map(_answer, entry.learned)),
    )


def _answer(answer: Answer) -> mix.Answer:
    calls = tuple(answer.calls.split(">")) if answer.calls else ()
    return mix.Answer(calls, answer.step_no or 1, answer.n_trained)
