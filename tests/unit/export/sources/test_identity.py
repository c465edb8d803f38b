import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Example, Message, Origin, Piece, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.identity import (
    GENERIC_PROMPTS,
    OTHER_NAMES,
    IdentityOptions,
    SystemShares,
    identity_examples,
)
from tarx_toollog.export.sources.identity_file import IdentityNames, read_identity
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.log_sample import LogSample

NAMES = IdentityNames("TARX", "TARX Labs")
TOOLS = Piece([{"type": "function", "function": {"name": "recall"}}])
OWN, NONE, GENERIC, OTHER = (
    SystemShares(**{kind: float(kind == chosen) for kind in ("own", "none", "generic", "other_name")})
    for chosen in ("own", "none", "generic", "other_name")
)
DIALOGUE: tuple[Message, ...] = (
    {"role": "system", "content": "You are TARX, on this machine."},
    {"role": "user", "content": "How old is my cat?"},
    {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "recall", "arguments": {}}}]},
    {"role": "tool", "content": "3", "name": "recall", "tool_call_id": "c"},
    {"role": "assistant", "content": "Three."},
)
ROWS = [
    {"question": f"Question {n * 7919}?", "answer": f"I am TARX, answer {n}.", "cluster": f"q{n}"} for n in range(400)
]


def sample() -> LogSample:
    found = LogSample()
    for n in range(5):
        origin = Origin(conversation_uid=f"conversation{n}", exchange_uid="e")
        found.observe(Example(tuple(map(Piece, DIALOGUE)), TOOLS, "tool", origin, registry="dev"))
    return found


def made(
    folder: Path,
    *rows: dict[str, Any],
    options: IdentityOptions | None = None,
    known: LogSample | None = None,
    normaliser: Normaliser | None = None,
) -> tuple[list[Example], Intake]:
    found, intake = all_made(folder, *rows, options=options, known=known, normaliser=normaliser)
    return [one for one in found if isinstance(one, Example)], intake


def all_made(
    folder: Path,
    *rows: dict[str, Any],
    options: IdentityOptions | None = None,
    known: LogSample | None = None,
    normaliser: Normaliser | None = None,
) -> tuple[list[Example | Refused], Intake]:
    path = folder / "identity.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    intake = Intake(path.name)
    read = read_identity(path, NAMES, intake)
    log, chosen = sample() if known is None else known, options or IdentityOptions(NAMES)
    return list(identity_examples(read, intake, normaliser or Normaliser(), log, chosen)), intake


def only(shares: SystemShares, **others: Any) -> IdentityOptions:
    return IdentityOptions(NAMES, shares, chain_share=0, **others)


def said(example: Example) -> list[tuple[str, str]]:
    return [(piece.value["role"], piece.value["content"]) for piece in example.messages]


def test_a_row_gets_the_prompt_and_the_tools_of_the_log(tmp_path: Path) -> None:
    (example,), intake = made(tmp_path, ROWS[0], options=only(OWN))

    assert [
        ("system", "You are TARX, on this machine."),
        ("user", "Question 0?"),
        ("assistant", "I am TARX, answer 0."),
    ] == said(example)
    assert (TOOLS, "identity", "identity:q0") == (example.tools, example.source, example.cluster)
    assert Origin(file="identity.jsonl", line=1) == example.origin
    assert {"system_own": 1, "with_tools": 1} == intake.kinds


def test_the_default_shares_are_about_kept_and_every_kind_is_counted(tmp_path: Path) -> None:
    examples, intake = made(tmp_path, *ROWS, options=IdentityOptions(NAMES, chain_share=0))
    systems = Counter(said(example)[0] if said(example)[0][0] == "system" else None for example in examples)

    assert 0.6 == pytest.approx(systems["system", "You are TARX, on this machine."] / 400, abs=0.08)
    assert 0.15 == pytest.approx(systems[None] / 400, abs=0.05)
    assert 0.15 == pytest.approx(sum(systems["system", text] for text in GENERIC_PROMPTS) / 400, abs=0.05)
    assert 0.1 == pytest.approx(intake.kinds["system_other_name"] / 400, abs=0.05)
    assert 400 == sum(n for kind, n in intake.kinds.items() if kind.startswith("system_")) == len(examples)


def test_what_becomes_of_a_row_depends_on_its_words_and_the_seed_and_not_on_its_place(tmp_path: Path) -> None:
    def by_question(*rows: dict[str, Any], seed: int = 0) -> dict[str, list[tuple[str, str]]]:
        examples, _ = made(tmp_path, *rows, options=IdentityOptions(NAMES, chain_share=0, seed=seed))
        return {said(example)[-2][1]: said(example) for example in examples}

    few, more = by_question(*ROWS[50:100]), by_question(*ROWS)

    assert few == {question: more[question] for question in few}
    assert few != by_question(*ROWS[50:100], seed=1)


def test_under_another_name_the_answer_gives_that_name_and_its_maker(tmp_path: Path) -> None:
    row = {"question": "Who are you?", "answer": "I am Tarx. TARX Labs made me; TARX's maker."}
    (example,), _ = made(tmp_path, row, options=only(OTHER))
    system, _, answer = said(example)
    name, maker = next((name, maker) for name, maker in OTHER_NAMES if name in system[1])

    assert f"You are {name}, an assistant made by {maker}." == system[1]
    assert f"I am {name}. {maker} made me; {name}'s maker." == answer[1]


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Are you TARX?", "answer": "Yes, I am TARX."},
        {"question": "Who are you?", "answer": "I am TARX. " + "I do much. " * 30},
        {"question": "Who are you?", "answer": "I am TARX and live in tarxland."},
        {"question": "Two and two?", "answer": "Four.", "negative": True},
        {"instruction": "And you?", "output": "TARX.", "history": [["Hi", "Hello, TARX here."]]},
        {"question": "Can you fly?", "answer": "No."},
    ],
)
def test_a_row_in_which_more_than_the_name_would_have_to_change_keeps_it(tmp_path: Path, row: dict[str, Any]) -> None:
    examples, intake = made(tmp_path, row, ROWS[0], options=only(OTHER))

    assert ("system", "You are TARX, on this machine.") == said(examples[0])[0]
    assert {"system_own": 1, "system_other_name": 1, "with_tools": 2} == intake.kinds


def test_a_row_with_its_own_prompt_and_tools_keeps_them(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"system": "You are Ada.", "question": "Who are you?", "answer": "I am Ada.", "tools": [{"name": "f"}]},
        {"system": "", "question": "Who?", "answer": "TARX.", "tools": []},
    ]
    (first, second), intake = made(tmp_path, *rows, options=IdentityOptions(NAMES, GENERIC, chain_share=1))

    assert [("system", "You are Ada."), ("system", "")] == [said(first)[0], said(second)[0]]
    assert ([{"type": "function", "function": {"name": "f"}}], None) == (
        getattr(first.tools, "value", None),
        second.tools,
    )
    assert {"system_given": 2, "with_tools": 1, "without_tools": 1} == intake.kinds


def test_without_a_prompt_in_the_log_the_name_is_one(tmp_path: Path) -> None:
    (example,), intake = made(tmp_path, ROWS[0], options=only(OWN), known=LogSample())
    (other,), _ = made(tmp_path, ROWS[0], options=only(OWN, system_prompt="TARX here."), known=sample())

    assert [("system", "You are TARX."), ("system", "TARX here.")] == [said(example)[0], said(other)[0]]
    assert {"no_tools": 1} == intake.warnings


def test_a_template_that_speaks_for_another_maker_gets_no_row_without_a_prompt(tmp_path: Path) -> None:
    given = {**ROWS[1], "system": ""}
    options = only(NONE, injected_identity="You are Qwen, created by Alibaba Cloud.")
    examples, intake = made(tmp_path, ROWS[0], given, options=options)
    bare, _ = made(tmp_path, ROWS[0], options=only(NONE))

    assert [("system", "You are TARX, on this machine."), ("system", "")] == [said(one)[0] for one in examples]
    assert {"template_identity": 1} == intake.warnings
    assert "'You are Qwen, created by Alibaba Cloud.'" in intake.remarks[0].message
    assert ("user", "Question 0?") == said(bare[0])[0]


def test_a_share_of_the_rows_has_tools(tmp_path: Path) -> None:
    _, intake = made(tmp_path, *ROWS, options=only(OWN, tools_share=0.5))

    assert 200 == pytest.approx(intake.kinds["with_tools"], abs=40)
    assert 400 == intake.kinds["with_tools"] + intake.kinds["without_tools"]


def test_some_groups_are_asked_again_after_a_dialogue_and_go_where_it_goes(tmp_path: Path) -> None:
    examples, intake = made(tmp_path, *ROWS, options=IdentityOptions(NAMES))
    chained = [example for example in examples if example.origin.conversation_uid]

    assert 80 == pytest.approx(len(chained), abs=25)
    assert {"after_chain": len(chained)} == {key: n for key, n in intake.kinds.items() if key == "after_chain"}
    one = chained[0]
    assert [(message["role"], message["content"]) for message in DIALOGUE] == said(one)[:5]
    assert ("user", "assistant") == (said(one)[5][0], said(one)[6][0])
    assert (TOOLS.text, "dev", None) == (getattr(one.tools, "text", None), one.registry, one.origin.exchange_uid)


def test_a_group_is_asked_behind_one_dialogue_only(tmp_path: Path) -> None:
    rows = [{**row, "cluster": f"q{n % 10}"} for n, row in enumerate(ROWS[:40])]
    examples, _ = made(tmp_path, *rows, options=IdentityOptions(NAMES, chain_share=1))
    pairs = {(one.cluster, one.origin.conversation_uid) for one in examples if one.origin.conversation_uid}

    assert 10 == len(pairs) == len({group for group, _ in pairs})


def test_messages_are_cleaned_and_what_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    def clean(message: Message) -> Message:
        return {**message, "content": message["content"].replace("0?", "zero?")}

    rows = [ROWS[0], {"question": "\ud83d", "answer": "TARX."}]
    found, intake = all_made(tmp_path, *rows, options=only(OWN), normaliser=Normaliser(clean))

    assert isinstance(found[0], Example)
    assert ("user", "Question zero?") == said(found[0])[1]
    assert [Refused("identity", Origin(file="identity.jsonl", line=2), "lone_surrogate")] == found[1:]
    assert {"lone_surrogate": 1} == intake.left_out


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5, 0.5), (1.2, -0.2, 0.0, 0.0), (0.1, 0.1, 0.1, 0.1)])
def test_shares_of_prompts_make_one_together(shares: tuple[float, float, float, float]) -> None:
    with pytest.raises(ConfigError, match="the shares of system prompts are"):
        SystemShares(*shares)
