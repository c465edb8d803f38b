from tarx_toollog.export.accounting import Accounting
from tarx_toollog.export.example import Source
from tarx_toollog.export.mix import Answer, Meta


def meta(
    source: Source, n_trained: int, calls: tuple[str, ...] = (), *, step_no: int = 1, has_tools: bool = True
) -> Meta:
    return Meta(1, b"h", source, "train", n_trained, calls, has_tools, step_no)


def counted() -> Accounting:
    accounting = Accounting()
    accounting.add(meta("tool", 401, ("recall", "save", "recall"), step_no=2), 1)
    accounting.add(meta("tool", 100, ("recall",), step_no=9), 2)
    accounting.add(meta("identity", 20), 4)
    accounting.add(meta("chat", 30, has_tools=False), 1)
    accounting.add(meta("synthetic", 500), 0)
    return accounting


def test_repetitions_count_and_every_column_adds_up() -> None:
    figures = counted().as_json()

    assert (8, 711) == (figures["rows"], figures["trained_tokens"])
    assert {
        "tool": {"rows": 3, "trained_tokens": 601},
        "identity": {"rows": 4, "trained_tokens": 80},
        "chat": {"rows": 1, "trained_tokens": 30},
        "synthetic": {"rows": 0, "trained_tokens": 0},
    } == figures["sources"]
    for group in ("sources", "tools", "chain_positions"):
        assert 711 == sum(counts["trained_tokens"] for counts in figures[group].values())


def test_the_tokens_of_parallel_calls_are_divided_among_their_tools() -> None:
    tools = counted().as_json()["tools"]

    assert {"rows": 3, "trained_tokens": 401} == tools["recall"]
    assert {"rows": 1, "trained_tokens": 200} == tools["save"]
    assert {"rows": 5, "trained_tokens": 110} == tools["(no call)"]


def test_places_in_the_chain_come_in_order_and_late_ones_together() -> None:
    assert ["1", "2", "4+"] == list(counted().as_json()["chain_positions"])


def test_a_dialogue_is_one_row_of_each_tool_and_place_and_its_tokens_are_divided_among_them() -> None:
    answers = (
        Answer(("recall",), 1, 40),
        Answer(("recall", "save"), 2, 31),
        Answer((), 3, 9),
        Answer((), 1, 20),
    )
    accounting = Accounting()
    accounting.add(meta("tool", 100, ("recall", "recall", "save"))._replace(answers=answers), 2)
    figures = accounting.as_json()

    assert (2, 200, 0.0) == (figures["rows"], figures["trained_tokens"], figures["negatives"])
    assert {
        "recall": {"rows": 2, "trained_tokens": 80 + 31},
        "save": {"rows": 2, "trained_tokens": 31},
        "(no call)": {"rows": 2, "trained_tokens": 58},
    } == figures["tools"]
    assert {"1": 120, "2": 62, "3": 18} == {
        place: counts["trained_tokens"] for place, counts in figures["chain_positions"].items()
    }


def test_good_and_bad_answers_are_counted_where_rows_are_marked() -> None:
    accounting = counted()
    assert "labels" not in accounting.as_json()
    assert "Good answers" not in accounting.as_text()

    for copies, label in ((1500, True), (2, False)):
        accounting.add(meta("tool", 10)._replace(label=label), copies)
    assert {"good": 1500, "bad": 2} == accounting.as_json()["labels"]
    assert "Good answers: 1,500; bad ones: 2." in accounting.as_text()


def test_negatives_are_the_answers_without_a_call_where_tools_were_offered() -> None:
    assert 0.5714 == counted().as_json()["negatives"]
    assert None is Accounting().as_json()["negatives"]


def test_the_tables_show_shares_of_tokens_and_bear_any_name_of_a_tool() -> None:
    accounting = counted()
    accounting.add(meta("tool", 289, ("a|\x1b\r\nb",)), 1)
    text = accounting.as_text()

    assert "| tool | 4 | 890 | 89.0% |" in text
    assert "| a\\|\ufffd\ufffd\ufffdb | 1 | 289 | 28.9% |" in text
    assert "to which tools were offered: 50.0%." in text
    assert "offered: –." in Accounting().as_text()
