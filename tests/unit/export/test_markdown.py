import pytest

from tarx_toollog.export.markdown import as_cell, one_line


@pytest.mark.parametrize("sign", ["\x1b", "\0", "\r", "\n", "\t", "\x7f", "\x9b", "\x85", "\u2028", "\u202e", "\ud800"])
def test_what_ends_a_line_or_rules_a_terminal_is_replaced(sign: str) -> None:
    assert "a\ufffdb" == one_line(f"a{sign}b") == as_cell(f"a{sign}b")


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    assert r"\|a\\\|\*\`\<b>\[c](d)\&amp;" == as_cell(r"|a\|*`<b>[c](d)&amp;")


@pytest.mark.parametrize("name", ["tarx_save_conversation", "(no call)", "mcp.files-read", "4+", "größe"])
def test_an_ordinary_name_stays_as_it_is(name: str) -> None:
    assert name == as_cell(name) == one_line(name)
