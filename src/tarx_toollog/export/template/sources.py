"""Chat templates from files: of a model, of a saved answer of a server, and those that TRL brings along."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.errors import ConfigError
from tarx_toollog.export.template.render import ChatTemplate

_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


def template_from_file(path: Path, *, tokens: Mapping[str, str] | None = None) -> ChatTemplate:
    """Read a template from ``chat_template.jinja``, or from a ``tokenizer_config.json`` with its special tokens.

    A saved answer of llama-server's ``/props`` has the same keys and is read as well.

    Args:
        path: The file.
        tokens: Special tokens, for a file that does not name its own.

    Raises:
        ConfigError: The file cannot be read, or holds no template.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        message = f"the chat template {path} cannot be read: {error.strerror}"
        raise ConfigError(message, hint="name a file that can be read, or server") from error
    except UnicodeDecodeError as error:
        message = f"the chat template {path} is not UTF-8 (byte {error.start + 1})"
        raise ConfigError(message, hint="save the file as UTF-8, or name another") from error
    if path.suffix != ".json":
        return ChatTemplate(text, tokens=tokens)
    try:
        answer = parse_json(text)
    except InvalidJsonError as error:
        raise ConfigError(f"{path.name} is not JSON: {error}") from error
    return _from_configuration(path.name, answer if isinstance(answer, Mapping) else {}, tokens or {})


def _from_configuration(name: str, answer: Mapping[str, Any], tokens: Mapping[str, str]) -> ChatTemplate:
    """Return the template for chats with tools, where there are several: rows of an export have tools."""
    templates = answer.get("chat_template")
    if isinstance(templates, list):  # tokenizers with several: [{"name", "template"}, …]
        named = {each.get("name"): each.get("template") for each in templates if isinstance(each, Mapping)}
        templates = named.get("tool_use") or named.get("default")
    text = answer.get("chat_template_tool_use") or templates
    if not isinstance(text, str) or not text:
        raise ConfigError(
            f"there is no chat_template in {name}",
            hint="take chat_template.jinja or tokenizer_config.json of the model, or the server's /props",
        )
    own = {key: token for key in _TOKENS if (token := _token(answer.get(key)))}
    return ChatTemplate(text, tokens={**tokens, **own})


def template_from_trl(name: str, *, tokens: Mapping[str, str] | None = None) -> ChatTemplate:
    """Return one of the templates in the package ``trl``, which need not be importable: only its files are read.

    Args:
        name: ``qwen3``, ``llama3_1``, ``qwen3_training`` …
        tokens: Special tokens, which these files do not name.

    Raises:
        ConfigError: The package is not installed, or has no template of this name.
    """
    spec = find_spec("trl")
    if spec is None or spec.origin is None:
        raise ConfigError("trl is not installed here", hint="pip install --no-deps trl")
    folder = Path(spec.origin).parent / "chat_templates"
    known = sorted(path.stem for path in folder.glob("*.jinja"))
    if name not in known:
        raise ConfigError(f"trl has no chat template {name!r}", hint=f"there are: {', '.join(known)}")
    return ChatTemplate((folder / f"{name}.jinja").read_text("utf-8"), tokens=tokens)


def _token(value: Any) -> str | None:
    """Return a special token; tokenizers write it as a string or as an object around it."""
    token = value.get("content") if isinstance(value, Mapping) else value
    return token if isinstance(token, str) else None
