"""``train.sh``: from the rows to a served model, and to what the replay says of it. Its text is ``mlx_train.sh``."""

import shlex
from importlib.resources import files

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx_config import Plan

ANSWER_TOKENS = 2048
"""Room for an answer after the longest row, and for what another tokenizer makes of it."""
LEAST_CONTEXT = 8192
"""Tokens to serve with at least: the scenarios are other conversations than the rows, and may be longer."""


def train_script(plan: Plan, options: FormatOptions) -> str:
    """Return the text of ``train.sh``. Values are quoted for the shell."""
    text = files(__package__).joinpath("mlx_train.sh").read_text(encoding="utf-8")
    for mark, value in (
        ("@MODEL@", options.base_model),
        ("@NAME@", f"{options.build_name}-mlx"),
        ("@TAG@", options.build_name),
        ("@CONTEXT@", str(max(LEAST_CONTEXT, plan.max_tokens + ANSWER_TOKENS))),
        ("@UPSTREAM@", options.upstream),
    ):
        text = text.replace(mark, shlex.quote(value))
    return text
