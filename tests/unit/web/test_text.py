"""What a page makes of texts and addresses."""

import pytest

from tarx_toollog.web.addresses import own_address
from tarx_toollog.web.paging import page
from tarx_toollog.web.visible import content_text, pretty, shortened, visible


@pytest.mark.parametrize(
    "hidden", ["\x00", "\x07", "\x1b", "\r", "\x85", "\u202e", "\u2066", "\u200b", "\ud800", "\U000e0041"]
)
def test_what_cannot_be_seen_is_named(hidden: str) -> None:
    assert f"a⟦{ord(hidden):04X}⟧b" == visible(f"a{hidden}b")


@pytest.mark.parametrize("text", ["a\tb\nc", "שלום", "👩\u200d👩\u200d👧", "क्\u200dष", "é"])
def test_what_people_write_stays(text: str) -> None:
    assert text == visible(text)


def test_long_texts_say_how_long_they_are() -> None:
    assert ("ab… (3 characters)", "ab", "") == (shortened("abc", 2), shortened("ab", 2), shortened(None, 2))


def test_the_content_of_a_message_is_its_text_in_whatever_form() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, None, 5]
    assert ("a", "", 'a\n{"type": "image_url", "image_url": {}}\n\n5') == (
        content_text("a"), content_text(None), content_text(parts)
    )  # fmt: skip
    assert '{"text": 5}' == content_text({"text": 5})


def test_long_json_is_indented() -> None:
    assert '{"a": 1}' == pretty({"a": 1})
    assert '{\n  "a"' == pretty({"a": "x" * 80})[:7]


@pytest.mark.parametrize(
    "there", ["/replay", "/replay/runs/a@b:c/steps/0/1", "/x?y=//evil.example", "/x?turn=3#turn-3"]
)
def test_a_form_leads_back_to_where_it_stood_without_what_the_page_said_last(there: str) -> None:
    path, mark, place = there.partition("#")
    assert there == own_address(there)
    assert there == own_address(f"{path}{'&' if '?' in path else '?'}notice=labelled{mark}{place}")


@pytest.mark.parametrize(
    "there",
    ["", "x", "//evil.example", "/\\evil.example", "https://evil.example/replay", "javascript:alert(1)", "/a\r\nb",
     "/\t/evil.example", "///evil.example", "/a/../../logout", "/a/%2e%2e/%2E%2E/logout"],
)  # fmt: skip
def test_a_form_leads_nowhere_else(there: str) -> None:
    assert "/" == own_address(there)


def test_a_page_ends_where_the_list_ends() -> None:
    rows = list(range(1, 6))

    def after(start: int) -> tuple[list[int], int | None]:
        found = page(lambda n: [row for row in rows if row > start][:n], lambda row: row, 2)
        return list(found.rows), found.after

    assert [([1, 2], 2), ([3, 4], 4), ([5], None)] == [after(0), after(2), after(4)]
    assert ([4, 5], None) == after(3)
