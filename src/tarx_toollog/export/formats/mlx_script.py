"""``train.sh``: from the rows to a served model, and to what the replay says of it. Its text is ``mlx_train.sh``."""

import shlex
from importlib.resources import files

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx_config import Plan

ANSWER_TOKENS = 2048
"""Room for an answer after the longest row, and for what another tokenizer makes of it."""
LEAST_CONTEXT = 8192
"""Tokens to serve with at least: the scenarios are other conversations than the rows, and may be longer."""


def train_script(plan: Plan, options: FormatOptions, name: str) -> str:
    """Return the text of ``train.sh``. Values are quoted for the shell.

    Args:
        plan: The numbers that depend on the rows.
        options: What a person asked for.
        name: Tag of the scenarios, and name of the model.
    """
    text = files(__package__).joinpath("mlx_train.sh").read_text(encoding="utf-8")
    for mark, value in (
        ("@MODEL@", options.base_model),
        ("@NAME@", f"{name}-mlx"),
        ("@TAG@", name),
        ("@CONTEXT@", str(max(LEAST_CONTEXT, plan.max_tokens + ANSWER_TOKENS))),
        ("@UPSTREAM@", options.upstream),
    ):
        text = text.replace(mark, shlex.quote(value))
    return text
