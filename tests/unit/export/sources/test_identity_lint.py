import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.example import Example, Origin, Piece
from tarx_toollog.export.sources.identity_lint import IdentityLint, SelfClaim

FIXTURES = Path(__file__).parents[3] / "export_fixtures"
TEXTS = [json.loads(line) for line in (FIXTURES / "sources" / "self_claims.jsonl").read_text("utf-8").splitlines()]
ORDINARY = FIXTURES.parent / "captures" / "ordinary_texts"
LINT = IdentityLint(["TARX", "TARX Labs"])


@pytest.mark.parametrize("row", TEXTS, ids=[row["text"][:60] for row in TEXTS])
def test_a_claim_about_oneself_is_found_and_talk_about_others_is_not(row: dict[str, Any]) -> None:
    assert row["is_claim"] == bool(LINT.claims(row["text"]))


def test_ordinary_texts_about_tools_and_code_hold_no_claim() -> None:
    lines = [line for path in sorted(ORDINARY.glob("*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    texts = [json.loads(line)["text"] for line in lines]

    assert [] == [text for text in texts if LINT.claims(text)]
    assert 300 < len(texts)


def test_a_claim_is_told_with_its_name_words_and_place() -> None:
    assert (SelfClaim("Qwen", "I am Qwen", 7), SelfClaim("OpenAI", "OpenAI trained me", 20)) == LINT.claims(
        "Hello! I am Qwen. - OpenAI trained me."
    )


def test_the_own_names_are_no_claim_even_where_another_maker_has_them() -> None:
    text = "I am Granite, made by Mistral."

    assert () == IdentityLint(["Granite", "Mistral"]).claims(text)
    assert ["Granite"] == [claim.name for claim in LINT.claims(text)]


@pytest.mark.parametrize(
    ("system", "names"),
    [
        ("You are TARX.", ["Claude", "Qwen"]),
        ("You are Claude, a poet.", ["Qwen"]),
        ("You're talking about Claude.", ["Claude", "Qwen"]),
        ("Your name is **Claude**. Du bist Qwen.", []),
        (None, ["Claude", "Qwen"]),
    ],
)
def test_a_name_that_the_system_prompt_gives_may_be_used(system: str | None, names: list[str]) -> None:
    said = [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "I am Claude.", "reasoning_content": "I am Qwen."},
    ]
    messages = said if system is None else [{"role": "system", "content": system}, *said]
    example = Example(tuple(map(Piece, messages)), None, "chat", Origin())

    assert names == [claim.name for claim in LINT.learned_claims(example)]


def test_only_what_is_to_be_learned_is_searched() -> None:
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I am Claude."}] * 2
    messages = (
        *map(Piece, said),
        Piece({"role": "user", "content": "?"}),
        Piece({"role": "assistant", "content": "TARX."}),
    )

    assert [] == list(LINT.learned_claims(Example(messages, None, "chat", Origin())))
    assert 1 == len(LINT.learned_claims(Example(messages, None, "chat", Origin(), targets=(3, 5))))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        "I am a " * 20_000 + "by Google",
        "as a " + "w " * 50_000 + "Google",
        "I am Qwen. " * 20_000,
        "made by " + "the team of " * 20_000 + "Google",
        "我是" * 30_000 + "Google",
        "my developers " * 10_000 + "at " * 10_000 + "Google",
    ],
    ids=["openings", "fillers", "claims", "teams", "chinese", "makers"],
)
def test_long_texts_take_no_long_time(text: str) -> None:
    assert 64 >= len(LINT.claims(text))
