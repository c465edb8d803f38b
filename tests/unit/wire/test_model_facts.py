"""Facts of a model from the answers of its server: recorded ones, documented ones, and rubbish."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import Json, content_hash
from tarx_toollog.wire.model_facts import (
    ADAPTERS,
    LOADED,
    MODELS,
    PROPS,
    SHOW,
    VERSION,
    Adapter,
    ChatTemplate,
    ModelFacts,
    facts_from,
    fingerprint,
    normal_quantization,
    with_adapters,
)
from tests.support.captures import CAPTURES, parse_http

DOCUMENTED = CAPTURES.parent / "ollama-documented"
ROUTES = (PROPS, MODELS, ADAPTERS, VERSION, SHOW, LOADED)


def recorded(name: str) -> Any:
    return json.loads(b"".join(parse_http((CAPTURES / f"{name}.response.raw").read_bytes()).body))


def documented(name: str) -> Any:
    return json.loads((DOCUMENTED / f"{name}.json").read_text("utf-8"))


def llama_cpp(**props: Any) -> dict[str, Any]:
    """Return what a recorded llama.cpp says of itself, with other values under keys of ``/props``."""
    return {
        PROPS: recorded("meta_props") | props,
        MODELS: recorded("meta_v1_models"),
        ADAPTERS: recorded("meta_lora_adapters"),
    }


def ollama(**answers: str) -> dict[str, Any]:
    names = {VERSION: "api_version", LOADED: "api_ps", SHOW: "api_show"}
    return {route: documented(name) for route, name in (names | answers).items()}


def read(answers: dict[str, Any], model: str | None = None) -> ModelFacts:
    facts = facts_from(answers, model)
    assert facts is not None
    return facts


def test_llama_cpp_tells_file_quantization_context_and_template() -> None:
    answers = llama_cpp()

    assert ModelFacts(
        server="llama.cpp",
        server_version="b0-unknown",
        model="qwen2.5-coder-1.5b-q4_k_m",
        names=frozenset({"qwen2.5-coder-1.5b-q4_k_m", "models/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"}),
        n_params=1777088000,
        quantization="Q4_K_M",
        quantization_raw="Q4_K - Medium",
        file_name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        size=1111370240,
        n_ctx=32768,
        n_ctx_train=32768,
        chat_template_hash=content_hash("chat_template", answers[PROPS]["chat_template"]).hex(),
        template=ChatTemplate(answers[PROPS]["chat_template"], bos_token="<|endoftext|>", eos_token="<|im_end|>"),
        sources=(PROPS, MODELS, ADAPTERS),
    ) == read(answers)


def test_the_context_is_that_of_one_slot() -> None:
    answers = llama_cpp(default_generation_settings={"n_ctx": 4096}, total_slots=8)

    assert 4096 == read(answers).n_ctx


@pytest.mark.parametrize("path", ["/home/ann/models/a.gguf", r"C:\Users\ann\a.gguf", "models/a.gguf", "a.gguf"])
def test_neither_file_nor_name_tells_the_folder(path: str) -> None:
    # Without --alias the path is the name, too.
    answers = {PROPS: {"model_path": path, "model_alias": path}, MODELS: {"data": [{"id": path}]}}
    facts = read(answers)

    assert ("a.gguf", "a.gguf") == (facts.file_name, facts.model)
    assert facts.names == {path}
    assert "ann" not in json.dumps(facts.to_json())


def test_a_name_with_a_slash_is_no_path() -> None:
    assert "Qwen/Qwen3-8B" == read({MODELS: {"data": [{"id": "Qwen/Qwen3-8B"}]}}).model


def test_adapters_in_force_are_told_and_those_without_effect_are_not() -> None:
    loaded = [{"id": 0, "path": "/home/ann/v2.gguf", "scale": 0.5}, {"id": 1, "path": "off.gguf", "scale": 0.0}]
    answers = llama_cpp() | {ADAPTERS: loaded}

    assert (Adapter("v2.gguf", 0.5),) == read(answers).lora


def test_ollama_tells_the_context_that_the_model_was_loaded_with_rather_than_the_one_of_its_file() -> None:
    # A name without a tag means the latest one, and /api/ps has the tag.
    facts = read(ollama(), "qwen3")

    assert (
        ModelFacts(
            server="ollama",
            server_version="0.13.1",
            model="qwen3",
            names=frozenset({"qwen3", "qwen3:latest"}),
            family="qwen3",
            n_params=8190735360,
            quantization="Q4_K_M",
            quantization_raw="Q4_K_M",
            file_digest="sha256:0f3c5e7d9a1b2c4d6e8f00112233445566778899aabbccddeeff001122334455",
            n_ctx=4096,
            n_ctx_train=40960,
            chat_template_hash=content_hash("chat_template", "{{ .System }}{{ .Prompt }}").hex(),
            template=ChatTemplate("{{ .System }}{{ .Prompt }}", syntax="go"),
            sources=(VERSION, LOADED, SHOW),
        )
        == facts
    )


def test_ollama_does_not_tell_the_context_of_a_model_that_is_not_loaded() -> None:
    assert read(ollama(**{LOADED: "api_ps_idle"}), "qwen3").n_ctx is None


def test_an_adapter_of_ollama_makes_another_build() -> None:
    with_adapter = read(ollama(**{SHOW: "api_show_adapter"}), "qwen3")

    assert (Adapter("sha256-77aa", 1.0),) == with_adapter.lora
    assert fingerprint(with_adapter) != fingerprint(read(ollama(), "qwen3"))


def test_a_server_with_several_models_is_asked_about_the_one_that_answered() -> None:
    entries = [
        {"id": "a", "owned_by": "vllm", "max_model_len": 4096},
        {"id": "b", "owned_by": "vllm", "max_model_len": 8192},
    ]
    answers = {MODELS: {"data": entries}}
    facts = read(answers, "b")

    assert ("vllm", "b", 8192) == (facts.server, facts.model, facts.n_ctx)
    assert facts_from(answers, None) is None
    assert facts_from(answers, "c") is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Q4_K - Medium", "Q4_K_M"),
        ("Q4_K - Small", "Q4_K_S"),
        ("Q3_K - Large", "Q3_K_L"),
        ("Q2_K - Medium", "Q2_K"),
        ("Q2_K - Small", "Q2_K_S"),
        ("Q6_K", "Q6_K"),
        ("Q4_1", "Q4_1"),
        ("all F32", "F32"),
        ("BF16", "BF16"),
        ("IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
        ("IQ3_S mix - 3.66 bpw", "IQ3_M"),
        ("TQ1_0 - 1.69 bpw ternary", "TQ1_0"),
        ("MXFP4 MoE", "MXFP4"),
        ("(guessed) Q4_K - Medium", "Q4_K_M"),
        ("q8_0", "Q8_0"),
        ("Q4_K_M", "Q4_K_M"),
        ("unknown, may not work", None),
        ("unknown", None),
        ("", None),
        (None, None),
    ],
)
def test_a_quantization_has_the_form_that_file_names_use(raw: str | None, expected: str | None) -> None:
    assert expected == normal_quantization(raw)


@pytest.mark.parametrize(
    "change",
    [
        {"model_path": "models/finetune-v2.gguf"},
        {"model_ftype": "Q5_K - Medium"},
        {"chat_template": "{{ messages }}"},
        {"chat_template_tool_use": "{{ tools }}"},
        {"default_generation_settings": {"n_ctx": 8192}},
        {"build_info": "b9999-abc"},
    ],
)
def test_whatever_may_change_answers_makes_another_build(change: dict[str, Any]) -> None:
    assert fingerprint(read(llama_cpp())) != fingerprint(read(llama_cpp(**change)))


def test_another_adapter_or_scale_makes_another_build() -> None:
    prints = {
        fingerprint(read(llama_cpp() | {ADAPTERS: adapters}))
        for adapters in (
            [],
            [{"path": "a.gguf", "scale": 1.0}],
            [{"path": "a.gguf", "scale": 0.5}],
            [{"path": "b.gguf", "scale": 1.0}],
        )
    }

    assert 4 == len(prints)


def test_what_does_not_change_answers_makes_none() -> None:
    elsewhere = llama_cpp(model_path="/srv/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", is_sleeping=True, total_slots=4)

    assert fingerprint(read(llama_cpp())) == fingerprint(read(elsewhere))


def test_a_second_template_for_requests_with_tools_is_kept_beside_the_first() -> None:
    facts = read(llama_cpp(chat_template="{{ messages }}", chat_template_tool_use="{{ tools }}"))

    assert ChatTemplate("{{ messages }}", "{{ tools }}", "jinja", "<|endoftext|>", "<|im_end|>") == facts.template
    assert content_hash("chat_template", ["{{ messages }}", "{{ tools }}"]).hex() == facts.chat_template_hash


def test_of_a_template_its_hash_alone_makes_another_build() -> None:
    facts = read(llama_cpp())

    assert fingerprint(facts) == fingerprint(replace(facts, template=None))
    assert fingerprint(facts) == fingerprint(read(llama_cpp(bos_token="<s>", eos_token=None)))


def test_a_server_that_tells_nothing_gives_no_facts() -> None:
    assert facts_from({}, "m") is None
    assert facts_from({MODELS: {"data": []}, PROPS: {"status": "ok"}}, "m") is None
    assert facts_from({SHOW: {"error": "model not found"}}, "m") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "model_path",
        "model_ftype",
        "model_alias",
        "chat_template",
        "chat_template_tool_use",
        "bos_token",
        "build_info",
        "default_generation_settings",
        "n_ctx",
        "data",
        "id",
        "aliases",
        "meta",
        "owned_by",
        "path",
        "scale",
        "models",
        "name",
        "model",
        "details",
        "model_info",
        "template",
        "modelfile",
        "version",
        "context_length",
        "general.architecture",
    ]
)
SHAPED = st.recursive(JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner), max_leaves=20)


@given(st.dictionaries(st.sampled_from(ROUTES), SHAPED), st.none() | st.text())
def test_rubbish_gives_facts_or_none_and_never_raises(answers: dict[str, Any], model: str | None) -> None:
    facts = facts_from(answers, model)
    if facts is not None:
        assert 17 == len(fingerprint(facts))


def test_a_request_that_names_adapters_turns_all_others_off() -> None:
    answers: dict[str, Json] = {
        PROPS: {"model_path": "/m/base.gguf"},
        ADAPTERS: [{"id": 0, "path": "/m/v1.gguf", "scale": 1.0}, {"id": 1, "path": "/m/v2.gguf", "scale": 1.0}],
    }
    wanted: list[tuple[Json, str]] = [
        ([{"id": 0, "scale": 0.0}], "base.gguf"),
        ([{"id": 1, "scale": 0.5}], "base.gguf + v2.gguf × 0.5"),
        ([], "base.gguf"),
        ("nonsense", "base.gguf"),
        ([{"id": [], "scale": "x"}, 7], "base.gguf"),
    ]
    for asked, name in wanted:
        facts = facts_from(with_adapters(answers, asked), None)
        assert facts is not None
        assert name == facts.name
    own = facts_from(answers, None)
    assert own is not None
    assert "base.gguf + v1.gguf + v2.gguf" == own.name
