"""Rules that label automatically: the registry, and what keeps the labels that they find.

A rule is a pure function over the turns of one conversation. What it finds is added as a label of the kind ``rule``,
whose annotator is the rule's name. Rules are asked again and again over a log that grows: what one has said once of a
target it does not say again, also when somebody took that label back.

A third party adds one through an entry point of the group ``tarx_toollog.label_rules`` that names a ``LabelRule``.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa

from tarx_toollog.model import Trajectory
from tarx_toollog.registry import Registry
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.label_findings import Finding, retried_after_error, user_corrected
from tarx_toollog.store.labels import AnnotatorKind, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import label
from tarx_toollog.store.tables import LogTables

__all__ = ["RULES", "Finding", "LabelRule", "LabelRules", "RuleTally"]

_RULE: AnnotatorKind = "rule"


@dataclass(frozen=True, slots=True)
class LabelRule:
    """A rule, as the registry holds it."""

    about: str
    """What it says, in a sentence."""
    find: Callable[[Sequence[Trajectory]], Iterable[Finding]]
    """Gets the turns of one conversation, in their order."""


RULES: Registry[LabelRule] = Registry(
    "tarx_toollog.label_rules",
    "label rule",
    {
        "user_corrected": LabelRule("An answer is bad that the user corrected within two turns.", user_corrected),
        "retried_after_error": LabelRule(
            "A call is bad whose result was an error, and which came back well with other arguments.",
            retried_after_error,
        ),
    },
)


@dataclass(frozen=True, slots=True)
class RuleTally:
    """What one rule has said."""

    rule: str
    about: str
    found: int
    """Targets of which it says something."""
    new: int
    """Of these, how many it said nothing about before."""


class LabelRules(LogTables):
    """Has rules label a log.

    Args:
        log: An open store; one that is open for writing where labels are kept.
    """

    def __init__(self, log: ToolLog) -> None:
        super().__init__(log)
        self._log = log

    def apply(
        self,
        names: Collection[str] = (),
        filters: Filters | None = None,
        *,
        keeps: bool = True,
        read: Callable[[int], None] = lambda count: None,
    ) -> list[RuleTally]:
        """Ask rules, and keep what they find that they had not said before.

        Args:
            names: Of the rules; all when empty.
            filters: Which turns they see. A turn that is left out cannot speak for or against the one before it.
            keeps: False: only count.
            read: Called with the number of turns that were looked at since.

        Raises:
            ConfigError: There is no such rule.
        """
        rules = {name: RULES.get(name) for name in names or RULES.names()}
        found: dict[str, list[Finding]] = {name: [] for name in rules}
        for _, conversation in groupby(self._log.trajectories(filters), lambda turn: turn.conversation_uid):
            turns = list(conversation)
            for name, rule in rules.items():
                found[name] += rule.find(turns)
            read(len(turns))
        return [self._keep(name, rule.about, found[name], keeps) for name, rule in rules.items()]

    def _keep(self, name: str, about: str, findings: Iterable[Finding], keeps: bool) -> RuleTally:
        found = {_key(one): one for one in findings}
        said = self._said(name)
        new = [one for key, one in found.items() if key not in said]
        labels = Labels(self._log)
        for one in new if keeps else ():
            labels.add(
                NewLabel(
                    target_type=one.target.type,
                    target_uid=one.target.uid,
                    name=one.name,
                    value_num=one.value,
                    comment=one.comment,
                    annotator_kind=_RULE,
                    annotator=name,
                )
            )
        return RuleTally(name, about, len(found), len(new))

    def _said(self, name: str) -> set[tuple[str, str, str, float | None]]:
        columns = (label.c.target_type, label.c.target_uid, label.c.name, label.c.value_num)
        query = sa.select(*columns).where(label.c.annotator_kind == _RULE, label.c.annotator == name)
        with self._read() as connection:
            return {(row[0], row[1], row[2], row[3]) for row in connection.execute(query)}


def _key(one: Finding) -> tuple[str, str, str, float | None]:
    return one.target.type, one.target.uid, one.name, one.value
