"""The codes of the lint: what can be wrong with training files, how bad it is, and how to mend it.

Owns the list (``codes.toml``) and its table in ``docs/export-lint.md``. What finds them is in the ``*_rules`` modules.
"""

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Severity = Literal["error", "warning"]
Stage = Literal["file", "row", "tools", "template"]


@dataclass(frozen=True, slots=True)
class Code:
    """One thing that can be wrong."""

    name: str
    severity: Severity
    """``error``: it helps nobody and harms somebody; ``warning``: right for some readers, wrong for others."""
    stage: Stage
    """Where it is seen: in the file, in a row, in the tools of a row, or in what a template makes of a row."""
    what: str
    """One sentence: what is wrong, and for whom."""
    mend: str
    """One sentence: what to do."""


def _load() -> dict[str, Code]:
    text = files(__package__).joinpath("codes.toml").read_text(encoding="utf-8")
    return {name: Code(name=name, **fields) for name, fields in tomllib.loads(text).items()}


CODES: dict[str, Code] = _load()
"""Name → code, by stage, in the order of the page. Names are a contract: they stand in reports and in scripts."""

_TITLES: dict[Stage, str] = {"file": "Files", "row": "Rows", "tools": "Tools", "template": "Templates"}


def codes_table() -> str:
    """Return the codes as Markdown: one table a stage, as they stand in ``docs/export-lint.md``."""
    parts = []
    for stage, title in _TITLES.items():
        rows = [
            f"| `{code.name}` | {code.severity} | {_cell(code.what)} | {_cell(code.mend)} |"
            for code in CODES.values()
            if code.stage == stage
        ]
        parts.append(
            "\n".join([f"### {title}", "", "| code | | what is wrong | how to mend it |", "|---|---|---|---|", *rows])
        )
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
