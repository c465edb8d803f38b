"""What a model server says about the model that it serves: its JSON answers in, one ``ModelFacts`` out. No IO.

Theory: no server tells everything, and each tells it elsewhere.

* llama.cpp: ``/props`` has file, quantization, chat template and the context of one slot; ``/v1/models`` has the
  numbers of weights and bytes and the context that the model was trained for; ``/lora-adapters`` the adapters in
  force. The context is that of one slot, because that is what one exchange may fill: the flag of the server
  counts all slots together.
* Ollama: ``/api/show`` has template, quantization and architecture, and names the file by its digest;
  ``/api/ps`` has the context with which the model is loaded, and only while it is; ``/api/version`` the version.
* others answer at least ``/v1/models``.

A *build* is what may answer differently: weights, quantization, adapters, template, context, server. Two answers
with the same ``fingerprint`` are one build, wherever it runs. The name that the server gives the model belongs to
it as well: a fine-tune is often served under the file name of its base.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.canonical import Json, content_hash, json_text
from tarx_toollog.wire.fields import MAX_LARGE_COUNT, count_or_none, dict_or_empty, list_or_empty, text_or_none

PROPS, MODELS, ADAPTERS = "/props", "/v1/models", "/lora-adapters"
VERSION, SHOW, LOADED = "/api/version", "/api/show", "/api/ps"

ADAPTERS_PARAM = "lora"
"""The key of a request to llama.cpp that says which adapters answer it: a list of ``id`` and ``scale``."""

LLAMA_CPP, OLLAMA, UNKNOWN_SERVER = "llama.cpp", "ollama", "unknown"
_SERVERS = {"llamacpp": LLAMA_CPP, "library": OLLAMA, "vllm": "vllm"}
"""What servers write into ``owned_by`` of ``/v1/models``."""

_SIZES = {"small": "_S", "medium": "_M", "large": "_L"}
_QUANTIZATION = re.compile(r"(?:all )?([A-Z0-9_]+)(?: - (Small|Medium|Large))?", re.IGNORECASE)
_BLOB = re.compile(r"^FROM\s+\S*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)
_ADAPTER = re.compile(r"^ADAPTER\s+(\S.*?)\s*$", re.MULTILINE)
_PATH = re.compile(r"[/\\~]|[A-Za-z]:[/\\]|.*\.gguf$", re.IGNORECASE | re.DOTALL)
_NOT_QUANTIZED = ("unknown", "")
_MAX_NAME = 256  # what servers name is short; a body full of rubbish must not fill the row


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in force."""

    file: str
    """Name of its file, without its folder."""
    scale: float
    """How strongly it is applied; 1 is as trained."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """What turns messages into the text that the model reads."""

    text: str
    tool_text: str | None = None
    """The one for requests with tools, where the server keeps another."""
    syntax: Literal["jinja", "go"] = "jinja"
    """``go`` is Ollama's."""
    bos_token: str | None = None
    """Text of the token that begins a prompt, as Jinja templates name it."""
    eos_token: str | None = None

    @property
    def hash(self) -> str:
        """Content hash of the texts, in hex."""
        texts = self.text if self.tool_text is None else [self.text, self.tool_text]
        return content_hash("chat_template", texts).hex()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model on one server; a field is None where the server does not tell."""

    server: str = UNKNOWN_SERVER
    """``llama.cpp``, ``ollama``, ``vllm`` or ``unknown``."""
    server_version: str | None = None
    model: str | None = None
    """Its name on the server."""
    names: frozenset[str] = frozenset()
    """Every name under which answers of the server may carry it."""
    family: str | None = None
    n_params: int | None = None
    quantization: str | None = None
    """The usual short form: ``Q4_K_M``."""
    quantization_raw: str | None = None
    """As the server writes it: ``Q4_K - Medium``."""
    file_name: str | None = None
    """Without the folder, which may name a person."""
    file_digest: str | None = None
    """``sha256:`` and 64 hex digits, of the model file."""
    size: int | None = None
    """Bytes of the weights."""
    n_ctx: int | None = None
    """Tokens that one exchange may fill: of one slot, where the server has several."""
    n_ctx_train: int | None = None
    chat_template_hash: str | None = None
    """``ChatTemplate.hash`` of the template."""
    template: ChatTemplate | None = None
    """The template itself; of what makes a build another one its hash is enough."""
    lora: tuple[Adapter, ...] = ()
    sources: tuple[str, ...] = ()
    """The routes that answered."""

    @property
    def name(self) -> str:
        """What a person knows the build by: its file, or its name on the server, and the adapters."""
        adapters = (f" + {one.file}" + (f" × {one.scale:g}" if one.scale != 1 else "") for one in self.lora)
        return (self.file_name or self.model or self.server) + "".join(adapters)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON, with the names of the columns of ``model_build``; what is unknown is left out."""
        columns = {name: getattr(self, name) for name in _COLUMNS}
        found = {name: value for name, value in columns.items() if value is not None}
        return found | {"lora": [{"file": one.file, "scale": one.scale} for one in self.lora]}


_COLUMNS = (
    "server",
    "server_version",
    "model",
    "family",
    "n_params",
    "quantization",
    "quantization_raw",
    "file_name",
    "file_digest",
    "size",
    "n_ctx",
    "n_ctx_train",
    "chat_template_hash",
)


def facts_from(answers: Mapping[str, Json], model: str | None) -> ModelFacts | None:
    """Return what the answers of one server say about ``model``.

    Args:
        answers: By route (``PROPS`` and so on), the JSON that came back; routes that the server does not have are
            missing. Anything may stand in it.
        model: Name of the model in answers to chats; needed where the server has several.

    Returns:
        The facts, or None where nothing says which model it is.
    """
    if SHOW in answers or LOADED in answers:
        return _from_ollama(answers, model)
    return _from_openai(answers, model)


def with_adapters(answers: Mapping[str, Json], wanted: Json) -> dict[str, Json]:
    """Return the answers as they would be if the adapters that a request asks for were the server's own.

    Args:
        answers: As for ``facts_from``.
        wanted: ``ADAPTERS_PARAM`` of the request; an adapter that it does not name has no effect, as llama.cpp has it.
    """
    pairs = [entry for entry in list_or_empty(wanted) if isinstance(entry, dict)]
    entries = [entry for entry in list_or_empty(answers.get(ADAPTERS)) if isinstance(entry, dict)]
    scales = {json_text(entry.get("id")): entry.get("scale") for entry in pairs}
    chosen = [entry | {"scale": scales.get(json_text(entry.get("id")), 0.0)} for entry in entries]
    return {**answers, ADAPTERS: chosen}


def fingerprint(facts: ModelFacts) -> bytes:
    """Return the content hash of what makes a build another one; where it runs does not count."""
    left_out = ("quantization_raw",)  # only another spelling
    return content_hash("model_build", {key: v for key, v in facts.to_json().items() if key not in left_out})


def normal_quantization(raw: str | None) -> str | None:
    """Return a quantization in the form that file names use.

    Example:
        >>> [normal_quantization(raw) for raw in ("Q4_K - Medium", "IQ3_S mix - 3.66 bpw", "all F32", "Q2_K - Medium")]
        ['Q4_K_M', 'IQ3_M', 'F32', 'Q2_K']
    """
    text = (raw or "").replace("(guessed)", "").strip()
    if text.lower().partition(",")[0] in _NOT_QUANTIZED:
        return None
    if text.startswith("IQ3_S mix"):
        return "IQ3_M"  # the one that llama.cpp describes rather than names
    match = _QUANTIZATION.match(text)
    if match is None:
        return text
    name, size = match[1].upper(), (match[2] or "").lower()
    # Q2_K is what llama.cpp calls medium, and has no letter.
    return name if name == "Q2_K" and size == "medium" else name + _SIZES.get(size, "")


def _from_openai(answers: Mapping[str, Json], model: str | None) -> ModelFacts | None:
    """Return the facts from llama.cpp, or from any server with ``/v1/models``."""
    props, entry = dict_or_empty(answers.get(PROPS)), _entry(answers.get(MODELS), model)
    has_props = "model_path" in props
    if not has_props and entry is None:
        return None
    entry = entry or {}
    meta, settings = dict_or_empty(entry.get("meta")), dict_or_empty(props.get("default_generation_settings"))
    raw = _name(props.get("model_ftype")) or _name(meta.get("ftype"))
    path = _name(props.get("model_path"))
    name = _name(entry.get("id")) or _name(props.get("model_alias")) or path
    aliases = [entry.get("id"), *list_or_empty(entry.get("aliases")), props.get("model_alias"), path]
    # Of one slot, then of all of them; vLLM has a key of its own.
    contexts = (settings.get("n_ctx"), meta.get("n_ctx"), entry.get("max_model_len"))
    template = _jinja(props)
    return ModelFacts(
        server=LLAMA_CPP if has_props else _SERVERS.get(_name(entry.get("owned_by")) or "", UNKNOWN_SERVER),
        server_version=_name(props.get("build_info")),
        model=_base_name(name) if name and _PATH.match(name) else name,
        names=_names(aliases),
        n_params=count_or_none(meta.get("n_params"), MAX_LARGE_COUNT),
        quantization=normal_quantization(raw),
        quantization_raw=raw,
        file_name=None if path is None else _base_name(path),
        size=count_or_none(meta.get("size"), MAX_LARGE_COUNT),
        n_ctx=next(filter(None, map(_context, contexts)), None),
        n_ctx_train=_context(meta.get("n_ctx_train")),
        chat_template_hash=None if template is None else template.hash,
        template=template,
        lora=_adapters(answers.get(ADAPTERS)),
        sources=tuple(answers),
    )


def _from_ollama(answers: Mapping[str, Json], model: str | None) -> ModelFacts | None:
    shown = dict_or_empty(answers.get(SHOW))
    loaded = _loaded(answers.get(LOADED), model)
    details = dict_or_empty(shown.get("details")) or dict_or_empty(loaded.get("details"))
    if not details:
        return None
    info = dict_or_empty(shown.get("model_info"))
    family = _name(info.get("general.architecture")) or _name(details.get("family"))
    raw = _name(details.get("quantization_level"))
    modelfile = text_or_none(shown.get("modelfile")) or ""
    blob = _BLOB.search(modelfile)
    text = text_or_none(shown.get("template"))
    template = ChatTemplate(text, syntax="go") if text else None
    return ModelFacts(
        server=OLLAMA,
        server_version=_name(dict_or_empty(answers.get(VERSION)).get("version")),
        model=model,
        names=_names([model, loaded.get("name"), loaded.get("model")]),
        family=family,
        n_params=count_or_none(info.get("general.parameter_count"), MAX_LARGE_COUNT),
        quantization=normal_quantization(raw),
        quantization_raw=raw,
        file_digest=None if blob is None else f"sha256:{blob[1]}",
        n_ctx=_context(loaded.get("context_length")),
        n_ctx_train=_context(info.get(f"{family}.context_length")),
        chat_template_hash=None if template is None else template.hash,
        template=template,
        lora=tuple(Adapter(_base_name(path), 1.0) for path in _ADAPTER.findall(modelfile)),
        sources=tuple(answers),
    )


def _entry(value: Json, model: str | None) -> dict[str, Any] | None:
    """Return the entry of ``/v1/models`` for a model; the only one, where the server has one and names it otherwise."""
    entries = [entry for entry in list_or_empty(dict_or_empty(value).get("data")) if isinstance(entry, dict)]
    named = [e for e in entries if model is not None and model in (e.get("id"), *list_or_empty(e.get("aliases")))]
    chosen = named or entries
    return chosen[0] if len(chosen) == 1 else None


def _loaded(value: Json, model: str | None) -> dict[str, Any]:
    """Return the entry of ``/api/ps`` for a model; a name without a tag means ``:latest``."""
    entries = [entry for entry in list_or_empty(dict_or_empty(value).get("models")) if isinstance(entry, dict)]
    wanted = (model, f"{model}:latest")
    return next((e for e in entries if e.get("name") in wanted or e.get("model") in wanted), {})


def _adapters(value: Json) -> tuple[Adapter, ...]:
    """Return the adapters that have an effect; one with scale 0 is loaded, and changes nothing."""
    found = []
    for entry in list_or_empty(value):
        path, scale = dict_or_empty(entry).get("path"), dict_or_empty(entry).get("scale")
        if isinstance(path, str) and isinstance(scale, int | float) and 0 < abs(scale) <= sys.float_info.max:
            found.append(Adapter(_base_name(path), float(scale)))
    return tuple(found)


def _jinja(props: Mapping[str, Any]) -> ChatTemplate | None:
    """Return the template of llama.cpp, which may keep one more for requests with tools."""
    keys = ("chat_template", "chat_template_tool_use")
    texts = [text for key in keys if (text := text_or_none(props.get(key)))]
    if not texts:
        return None
    bos, eos = _name(props.get("bos_token")), _name(props.get("eos_token"))
    return ChatTemplate(texts[0], texts[1] if len(texts) == 2 else None, bos_token=bos, eos_token=eos)


def _name(value: Json) -> str | None:
    """Return a short text; a server without an answer often sends an empty one."""
    return value[-_MAX_NAME:] if isinstance(value, str) and value else None  # of a path the end tells


def _names(values: Iterable[Json]) -> frozenset[str]:
    return frozenset(value for value in values if isinstance(value, str) and value)


def _context(value: Json) -> int | None:
    return count_or_none(value) or None


def _base_name(path: str) -> str:
    return re.split(r"[/\\]", path)[-1]
