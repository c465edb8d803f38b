"""Scorers: each looks at one step and one answer, and gives a value or says that it does not apply.

A third party adds one through an entry point of the group ``tarx_toollog.scorers`` that names a ``Scorer``.
"""

from tarx_toollog.registry import Registry
from tarx_toollog.replay.scorers.base import Evidence, Score, Scorer
from tarx_toollog.replay.scorers.calls import arguments, arguments_strict, name, parse, schema
from tarx_toollog.replay.scorers.identity.scorer import identity
from tarx_toollog.replay.scorers.step import step, step_lenient, step_strict

__all__ = ["SCORERS", "Evidence", "Score", "Scorer"]

SCORERS: Registry[Scorer] = Registry(
    "tarx_toollog.scorers",
    "scorer",
    {
        "parse": parse,
        "name": name,
        "schema": schema,
        "arguments_strict": arguments_strict,
        "arguments": arguments,
        "step_strict": step_strict,
        "step": step,
        "step_lenient": step_lenient,
        "identity": identity,
    },
)
