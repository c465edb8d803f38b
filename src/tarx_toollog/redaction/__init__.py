"""Redaction: what is secret or personal is taken out before it is stored, and replaced by joinable marks.

``⟦EMAIL:3f2a91c0aa⟧`` says what stood there; the same value has the same mark throughout a store, and without the
store's key nobody can tell which. ``docs/redaction.md`` says what is found and what is not.
"""

from tarx_toollog.redaction.engine import Found
from tarx_toollog.redaction.exchanges import Mark
from tarx_toollog.redaction.policy import Level, Policy, rule_names
from tarx_toollog.redaction.redactor import Redactor

__all__ = ["Found", "Level", "Mark", "Policy", "Redactor", "rule_names"]
