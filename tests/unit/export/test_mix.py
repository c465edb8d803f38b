import re
from collections import Counter
from collections.abc import Iterable

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.balance import BalanceSpec
from tarx_toollog.export.example import Source, Split
from tarx_toollog.export.mix import SOURCES, Answer, Kept, Meta, Mixed, Part, decide, parse_mix
from tarx_toollog.export.reasons import STAGES

N = 4000


def meta(
    key: int,
    source: Source = "tool",
    *,
    calls: tuple[str, ...] = ("recall",),
    n_trained: int = 10,
    split: Split = "train",
    conversation: str | None = None,
    has_tools: bool = True,
    n_answers: int = 0,
) -> Meta:
    return Meta(
        key=key,
        hash=f"{source}{key}".encode(),
        source=source,
        split=split,
        n_trained=n_trained,
        calls=calls,
        has_tools=has_tools,
        conversation=conversation,
        answers=(Answer(calls, 1, n_trained),) * n_answers,
    )


def mixed(metas: Iterable[Meta], mix: str = "", balance: BalanceSpec | None = None, seed: int = 0) -> Mixed:
    return decide(metas, parse_mix(mix), balance or BalanceSpec(), seed)


def copies(result: Mixed) -> dict[int, int]:
    return {kept.key: kept.copies for kept in result}


def reasons(result: Mixed) -> Counter[str | None]:
    return Counter(kept.reason for kept in result)


def test_the_parts_of_a_specification_are_weights_repetitions_shares_and_limits() -> None:
    found = parse_mix("tool=1, summary=0.3,identity=x4,chat=8%,synthetic=0.5:max=2000")

    assert {
        "tool": Part(1.0),
        "summary": Part(0.3),
        "identity": Part(4.0),
        "chat": Part(None, 0.08),
        "synthetic": Part(0.5, None, 2000),
    } == found
    assert {} == parse_mix("") == parse_mix(None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tools=1", "there is no source 'tools'"),
        ("tool", "'tool' cannot be read"),
        ("tool=", "cannot be read"),
        ("tool=-1", "cannot be read"),
        ("tool=nan", "cannot be read"),
        ("tool=1.2.3", "1.2.3 is no number"),
        ("tool=x2.5", "cannot be read"),
        ("tool=1:max=", "cannot be read"),
        (f"tool=1:max={10**9}", "cannot be read"),
        ("tool=1,tool=2", "tool is given twice"),
        ("identity=60%,chat=40%", "leave nothing for the other sources"),
        ("identity=x51", "more than 50 times"),
        ("tool=1,,chat=1", "'' cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_way_to_write_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_mix(text)

    assert "" != caught.value.hint


def test_without_a_specification_every_example_is_written_once_and_in_order() -> None:
    rows = [meta(n, source) for n, source in enumerate(SOURCES)]

    assert [Kept(n, 1, None) for n in range(len(SOURCES))] == list(mixed(rows))


def test_a_weight_below_one_keeps_about_that_share_and_names_why_the_rest_is_out() -> None:
    result = mixed([meta(n) for n in range(N)], "tool=0.3")

    assert 0.3 == pytest.approx(sum(copies(result).values()) / N, abs=0.03)
    assert {None, "mixed_out"} == set(reasons(result))


def test_a_row_that_was_in_stays_in_when_rows_are_added_and_when_the_weight_grows() -> None:
    few = copies(mixed([meta(n) for n in range(N)], "tool=0.3"))
    more_rows = copies(mixed([meta(n) for n in range(2 * N)], "tool=0.3"))
    more_weight = copies(mixed([meta(n) for n in range(N)], "tool=0.5"))

    assert few == {key: more_rows[key] for key in few}
    assert all(more_weight[key] for key, n in few.items() if n)
    assert sum(few.values()) < sum(more_weight.values())


def test_another_seed_draws_other_rows() -> None:
    rows = [meta(n) for n in range(N)]

    assert copies(mixed(rows, "tool=0.5")) != copies(mixed(rows, "tool=0.5", seed=1))


def test_a_weight_above_one_repeats_rows_of_the_training_split_only() -> None:
    rows = [meta(1, "identity"), meta(2, "identity", split="dev"), meta(3, "identity", split="eval"), meta(4)]

    assert {1: 4, 2: 1, 3: 1, 4: 1} == copies(mixed(rows, "identity=x4"))


def test_a_fraction_above_one_gives_some_rows_one_more_even_when_a_limit_chose_them() -> None:
    result = mixed([meta(n) for n in range(N)], "tool=2.25:max=1000")
    kept = Counter(n for n in copies(result).values() if n)

    assert {2, 3} == set(kept)
    assert 1000 == kept.total()
    assert 250 == pytest.approx(kept[3], abs=60)


def test_the_weight_zero_leaves_a_source_out_of_every_split() -> None:
    rows = [meta(1, "chat"), meta(2, "chat", split="dev"), meta(3)]

    assert {1: 0, 2: 0, 3: 1} == copies(mixed(rows, "chat=0"))


def test_a_limit_counts_different_rows_of_the_training_split() -> None:
    rows = [meta(n, "synthetic") for n in range(50)] + [meta(n, "synthetic", split="dev") for n in range(50, 60)]

    result = copies(mixed(rows, "synthetic=x2:max=20"))

    assert (20, 10) == (sum(1 for n in range(50) if result[n] == 2), sum(result[n] for n in range(50, 60)))


def test_a_share_is_one_of_the_trained_tokens_and_not_of_the_rows() -> None:
    rows = [meta(n, n_trained=100) for n in range(1000)] + [
        meta(5000 + n, "identity", n_trained=20) for n in range(300)
    ]

    result = mixed(rows, "identity=8%")
    written = {row.key: kept.copies * row.n_trained for row, kept in zip(rows, result, strict=True)}
    identity = sum(tokens for key, tokens in written.items() if key >= 5000)

    assert 0.08 == pytest.approx(identity / sum(written.values()), abs=0.005)
    assert 1.45 == pytest.approx(result.weights["identity"], abs=0.01)


def test_several_shares_are_reached_together_and_after_the_limits() -> None:
    rows = [meta(n, n_trained=100) for n in range(2000)]
    rows += [meta(5000 + n, "identity", n_trained=20) for n in range(300)]
    rows += [meta(9000 + n, "chat", calls=(), n_trained=50) for n in range(4000)]

    result = mixed(rows, "tool=1:max=500,identity=10%,chat=30%")
    tokens: Counter[str] = Counter()
    for row, kept in zip(rows, result, strict=True):
        tokens[row.source] += kept.copies * row.n_trained

    assert 50_000 == tokens["tool"]
    assert 0.1 == pytest.approx(tokens["identity"] / tokens.total(), abs=0.01)
    assert 0.3 == pytest.approx(tokens["chat"] / tokens.total(), abs=0.02)


def test_a_share_that_would_repeat_rows_without_end_is_refused_with_the_number() -> None:
    rows = [meta(n, n_trained=400) for n in range(5000)] + [meta(9000 + n, "identity", n_trained=20) for n in range(30)]

    with pytest.raises(ConfigError, match="identity=8% would repeat each row 290 times") as caught:
        mixed(rows, "identity=8%")

    assert "the limit is 50: ask for less, or write more examples" == caught.value.hint


def test_a_share_of_nothing_is_refused_and_a_share_for_a_source_without_rows_is_not() -> None:
    with pytest.raises(ConfigError, match="nothing beside the shares"):
        mixed([meta(1, "identity")], "identity=8%")

    assert {1: 1} == copies(mixed([meta(1)], "identity=8%"))


def test_a_limit_of_a_conversation_keeps_so_many_of_its_rows_and_leaves_rows_of_files_alone() -> None:
    rows = [meta(n, conversation=f"c{n % 3}") for n in range(30)] + [meta(100, "synthetic"), meta(101, "synthetic")]

    result = mixed(rows, balance=BalanceSpec(conversation_cap=4))
    kept = Counter(rows[place].conversation for place, one in enumerate(result) if one.copies)

    assert {"c0": 4, "c1": 4, "c2": 4, None: 2} == kept
    assert 18 == reasons(result)["enough_steps"]


def test_a_limit_of_a_tool_counts_a_row_with_two_calls_for_the_rarer_one() -> None:
    rows = [meta(n, calls=("recall",)) for n in range(50)]
    rows += [meta(100 + n, calls=("recall", "save")) for n in range(5)]
    rows += [meta(200, calls=()), meta(300, calls=("recall",), split="dev")]

    result = copies(mixed(rows, balance=BalanceSpec(tool_cap=10)))

    assert 10 == sum(result[n] for n in range(50))
    assert [1, 1, 1, 1, 1, 1, 1] == [result[n] for n in (100, 101, 102, 103, 104, 200, 300)]


def test_answers_without_a_call_are_cut_down_to_their_share() -> None:
    rows = [meta(n) for n in range(80)] + [meta(100 + n, "chat", calls=()) for n in range(100)]
    rows += [meta(300, "identity", calls=()), meta(301, "chat", calls=(), has_tools=False)]

    result = mixed(rows, balance=BalanceSpec(negatives=0.2))
    kept = copies(result)

    assert 20 == sum(kept[100 + n] for n in range(100))
    assert (1, 1, 80) == (kept[300], kept[301], reasons(result)["enough_negatives"])


def test_fewer_answers_without_a_call_than_asked_for_all_stay() -> None:
    rows = [meta(n) for n in range(80)] + [meta(100 + n, "chat", calls=()) for n in range(10)]

    assert {None: 90} == reasons(mixed(rows, balance=BalanceSpec(negatives=0.2)))


def test_a_limit_of_a_tool_counts_rows_as_often_as_they_are_written() -> None:
    rows = [meta(n) for n in range(100)] + [meta(200 + n, "identity", calls=("recall",)) for n in range(100)]

    result = mixed(rows, "tool=x2,identity=2.5", BalanceSpec(tool_cap=60))
    assert 57 < sum(copies(result).values()) <= 60
    assert {2, 3} == set(copies(result).values()) - {0}


def test_the_share_of_answers_without_a_call_is_that_of_what_is_written() -> None:
    rows = [meta(n) for n in range(80)] + [meta(100 + n, "chat", calls=()) for n in range(100)]

    kept = copies(mixed(rows, "chat=x4", BalanceSpec(negatives=0.2)))
    assert (20, 80) == (sum(kept[100 + n] for n in range(100)), sum(kept[n] for n in range(80)))
    kept = copies(mixed(rows, "tool=x2", BalanceSpec(negatives=0.2)))
    assert (40, 160) == (sum(kept[100 + n] for n in range(100)), sum(kept[n] for n in range(80)))


def test_a_limit_counts_a_row_of_a_source_with_a_share_once() -> None:
    rows = [meta(n, n_trained=100) for n in range(100)]
    rows += [meta(500 + n, "chat", calls=(), n_trained=10) for n in range(100)]

    result = mixed(rows, "chat=20%", BalanceSpec(negatives=0.2))
    assert 75 == reasons(result)["enough_negatives"]
    assert 10 == result.weights["chat"]


def test_a_limit_of_a_conversation_counts_the_answers_of_a_dialogue() -> None:
    rows = [meta(1, conversation="long", n_answers=5), meta(2, conversation="long", n_answers=9)]
    rows += [meta(3, conversation="long", n_answers=2), meta(4, conversation="other", n_answers=8)]

    assert {1: 1, 2: 0, 3: 1, 4: 1} == copies(mixed(rows, balance=BalanceSpec(conversation_cap=8)))
    assert {1: 0, 2: 0, 3: 2, 4: 0} == copies(mixed(rows, "tool=x2", BalanceSpec(conversation_cap=9)))


def test_every_reason_is_one_of_the_stage() -> None:
    rows = [meta(n, conversation=f"c{n % 50}", calls=("recall",) if n % 2 else ()) for n in range(400)]

    result = mixed(rows, "tool=0.9", BalanceSpec(tool_cap=20, conversation_cap=5, negatives=0.3))

    assert set(STAGES["mix"]) == set(reasons(result)) - {None}
