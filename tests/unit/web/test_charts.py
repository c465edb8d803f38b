"""Charts: each shape says and links to what it shows, and the table behind it has the same figures."""

import xml.etree.ElementTree as ET

import pytest

from tarx_toollog.web.charts import Amount, Bar, Cell, Chart, Point, Series, columns, dots, rows

OK, BAD = Series("ok", "right"), Series("faulty", "bad call")
HOSTILE = "</svg><script>alert(1)</script>\u202e & \"quoted'"


def shapes(chart: Chart, tag: str) -> list[ET.Element]:
    return list(ET.fromstring(chart.svg).iter(tag))


def texts(chart: Chart) -> list[str]:
    return [element.text or "" for element in shapes(chart, "text")]


def two_days() -> Chart:
    bars = [
        Bar("2026-05-30", [Amount(30, "/a"), Amount(10, "/b")], "/day"),
        Bar("2026-05-31", [Amount(5, "/c"), Amount(0, "/d")]),
    ]
    return columns("Calls over time", "day", "calls", [OK, BAD], bars)


def test_the_table_has_the_figures_and_the_links_of_the_shapes() -> None:
    chart = two_days()
    assert ("day", "right", "bad call", "all calls") == chart.head
    assert [
        [Cell("2026-05-30", "/day"), Cell("30", "/a"), Cell("10", "/b"), Cell("40")],
        [Cell("2026-05-31"), Cell("5", "/c"), Cell("0"), Cell("5")],
    ] == [list(row) for row in chart.rows]
    assert ["/a", "/b", "/c"] == [link.get("href") for link in shapes(chart, "a")]


def test_a_chart_is_an_image_with_a_title_and_no_stop_for_the_keyboard() -> None:
    root = ET.fromstring(two_days().svg)
    assert ("img", "Calls over time") == (root.get("role"), root[0].text)
    assert {"-1"} == {link.get("tabindex") for link in root.iter("a")}


def test_heights_are_in_proportion_and_stand_on_each_other() -> None:
    good, bad, second = (
        {name: float(box.get(name, "")) for name in ("x", "y", "height")} for box in shapes(two_days(), "rect")
    )
    assert [3.0, 6.0] == [pytest.approx(good["height"] / box["height"], rel=0.02) for box in (bad, second)]
    assert good["y"] == pytest.approx(bad["y"] + bad["height"], abs=0.1)
    assert good["x"] == bad["x"] < second["x"]
    assert "40" in texts(two_days())


def test_what_is_there_can_be_seen_however_little_it_is() -> None:
    bars = [Bar("a", [Amount(1_000_000), Amount(1)])]
    for chart, side in (
        (columns("t", "f", "calls", [OK, BAD], bars), "height"),
        (rows("t", "f", "calls", [OK, BAD], bars), "width"),
    ):
        assert [1.5] == [float(box.get(side, "")) for box in shapes(chart, "rect") if box.get("class") == "faulty"]


def test_each_shape_says_what_it_shows() -> None:
    said = [title.text for title in shapes(two_days(), "title")]
    assert "2026-05-30, bad call: 10 of 40 calls" in said
    single = rows("Values", "value", "calls", [Series("a", "calls")], [Bar("home", [Amount(1234)])])
    assert "home: 1,234 calls" in [title.text for title in shapes(single, "title")]


def test_one_series_needs_no_legend_and_no_sum() -> None:
    chart = rows("Values", "value", "calls", [Series("a", "calls")], [Bar("home", [Amount(3, "/x")])])
    assert ((), ("value", "calls")) == (tuple(chart.legend), tuple(chart.head))
    assert [[Cell("home"), Cell("3", "/x")]] == [list(row) for row in chart.rows]


def test_names_out_of_the_log_stay_text() -> None:
    bars = [Bar(HOSTILE, [Amount(1, '/x?a=1&b="<')])]
    for chart in (
        columns(HOSTILE, "f", "calls", [Series("a", HOSTILE)], bars),
        rows(HOSTILE, "f", "calls", [Series("a", HOSTILE)], bars),
        dots(HOSTILE, "f", "calls", [Point(HOSTILE, 1, 2, 0.1, 0.9, '/x?a=1&b="<')]),
    ):
        assert [] == shapes(chart, "script")
        assert ['/x?a=1&b="<'] == [link.get("href") for link in shapes(chart, "a")]
        assert "\u202e" not in chart.svg


def test_words_below_many_bars_do_not_run_into_each_other() -> None:
    bars = [Bar(f"day {number}", [Amount(1)]) for number in range(60)]
    days = [text for text in texts(columns("t", "day", "calls", [OK], bars)) if text.startswith("day")]
    assert ["day 0", "day 8", "day 16"] == days[:3]


def test_a_share_is_a_dot_within_its_interval() -> None:
    chart = dots("Success", "step", "calls", [Point("1", 3, 4, 0.3, 0.95, "/one")])
    (dot,) = shapes(chart, "circle")
    (whisker,) = (line for line in shapes(chart, "line") if line.get("class") == "whisker")
    assert float(whisker.get("y1", "")) < float(dot.get("cy", "")) < float(whisker.get("y2", ""))
    assert [[Cell("1", "/one"), Cell("75.0 %"), Cell("30.0–95.0 %"), Cell("3"), Cell("4")]] == [
        list(r) for r in chart.rows
    ]
    assert "1: 75.0 % [30.0–95.0 %], 3 of 4 calls" in [title.text for title in shapes(chart, "title")]


def test_nothing_is_an_empty_chart() -> None:
    for chart in (columns("t", "f", "calls", [OK], []), rows("t", "f", "calls", [OK], []), dots("t", "f", "calls", [])):
        assert ([], []) == (list(chart.rows), shapes(chart, "rect"))
