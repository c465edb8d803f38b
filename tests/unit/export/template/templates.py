"""The chat templates that the tests use, and the chats to render with them.

``python -m tests.unit.export.template.templates`` writes ``golden.json`` again: what ``transformers`` makes of our own
templates, so that every run of the tests compares with it, also where the consumers are not installed.
"""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tarx_toollog.export.template.render import NOW, ChatTemplate
from tests.consumers.environments import python_of, run_in
from tests.support.captures import CAPTURES, parse_http

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
LINT = ROOT / "tests" / "export_fixtures" / "lint"
GOLDEN = HERE / "golden.json"
CHATS: dict[str, dict[str, Any]] = json.loads((HERE / "chats.json").read_text("utf-8"))
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "recall",
            "description": "Find a note – any note.",
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def served() -> dict[str, Any]:
    """Return what a real llama-server said under ``/props``."""
    body = parse_http((CAPTURES / "meta_props.response.raw").read_bytes()).body
    props: dict[str, Any] = json.loads(b"".join(body))
    return props


def own_templates() -> dict[str, str]:
    """Return the templates of this repository that a server serves."""
    folder = ROOT / "examples" / "local_model" / "templates"
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()} | {"/props": served()["chat_template"]}


def template(name: str) -> ChatTemplate:
    """Return one of our own templates."""
    return ChatTemplate(own_templates()[name], tokens=TOKENS)


@cache
def by_transformers() -> dict[str, Any]:
    """Return what ``transformers`` makes of our templates and of those of TRL; skips where it is not installed."""
    python = python_of(".venv-consumers", "ci")
    request = {"chats": CHATS, "tools": TOOLS, "tokens": TOKENS, "templates": own_templates()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.json"
        path.write_text(json.dumps(request), "utf-8")
        answer: dict[str, Any] = json.loads(run_in(python, HERE / "render_with_transformers.py", path).splitlines()[-1])
    return answer


if __name__ == "__main__":
    assert NOW.year == 2024, "the script renders at that moment"
    own = {name: answer for name, answer in by_transformers().items() if name in own_templates()}
    GOLDEN.write_text(json.dumps(own, ensure_ascii=False, indent=1) + "\n", "utf-8")
