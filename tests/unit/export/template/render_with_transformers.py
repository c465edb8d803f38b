"""Render chats with the renderer of ``transformers``; runs in the consumers' environment, where that is installed.

``render_with_transformers.py REQUEST.json``: an object of ``chats``, ``tools``, ``tokens``, ``now`` and ``templates``
(name → text). The templates in the package ``trl`` are rendered as well. Prints one line: template → its text and, for
every chat, the text without and with an opened answer and the spans of generation, or null where the template stops.
"""

import datetime
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any


class _Clock(datetime.datetime):
    fixed = datetime.datetime.fromisoformat("2024-07-26")

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return cls.fixed


def rendered(module: Any, text: str, chat: dict[str, Any], request: dict[str, Any], **options: Any) -> Any:
    try:
        texts, spans = module.render_jinja_template(
            [chat["messages"]],
            tools=request["tools"] if chat.get("tools") else None,
            chat_template=text,
            **options,
            **request["tokens"],
        )
    except Exception:
        return None
    return [texts[0], spans[0] if spans else []]


def main(path: str) -> None:
    request = json.loads(Path(path).read_text("utf-8"))
    module = importlib.import_module("transformers.utils.chat_template_utils")
    module.datetime = _Clock  # type: ignore[attr-defined]
    templates: dict[str, str] = dict(request["templates"])
    spec = importlib.util.find_spec("trl")
    assert spec is not None, spec
    assert spec.origin is not None
    for file in sorted(Path(spec.origin).parent.glob("chat_templates/*.jinja")):
        templates[file.name] = file.read_text("utf-8")
    answer = {}
    for name, text in templates.items():
        chats = {}
        for case, chat in request["chats"].items():
            whole = rendered(module, text, chat, request, return_assistant_tokens_mask="generation" in text)
            asked = {**chat, "messages": chat["messages"][:-1]}
            prompt = rendered(module, text, asked, request, add_generation_prompt=True)
            chats[case] = {"whole": whole, "prompt": prompt and prompt[0]}
        answer[name] = {"text": text, "chats": chats}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
