"""A person's own condition: which view it means, and what is no condition."""

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.where import read_where


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("total_ms > 1000", "v_exchanges"),
        ("tool = 'x'", "v_tool_calls"),
        ("tool = 'x' AND outcome = 'completed'", "v_tool_calls"),  # the outcome stands in both
        ("Tool = 'x'", "v_tool_calls"),
        ("chain_length > 3", "v_turns"),
        ("answer LIKE '%tool = chain_length%'", "v_exchanges"),  # names in a text are text
        ("exchange_uid IN (SELECT exchange_uid FROM v_tool_calls WHERE tool = 'x')", "v_exchanges"),
        ("(n_tools) > 1 AND (n_messages + (n_tools)) > 3", "v_exchanges"),
        ("lower(\"tool\") = 'x' AND arguments_json->>'$.a' <> '--;(' AND result IS NOT NULL", "v_tool_calls"),
        ("CAST(n_tools AS REAL) > 1e3", "v_exchanges"),
        ("n_tools::int > 1", "v_exchanges"),
    ],
)
def test_the_columns_say_which_view_a_condition_is_about(text: str, view: str) -> None:
    assert view == read_where(text).view.name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 = 1",
        "tool = 'x' AND total_ms > 1",  # of two views
        "n_tools = 1; DELETE FROM label",
        "n_tools = 1) OR (1 = 1",
        "n_tools = 1)",
        "(n_tools = 1",
        "n_tools = 1 -- and so on",
        "n_tools = 1 /* and so on",
        "answer = 'it",
        'answer = "it"',  # SQLite would take it for a text
        '"n_tools = 1',
        "answer = E'it\\' OR 1 = 1'",
        "answer = $$it$$",
        "[n_tools] = 1",
        "`n_tools` = 1",
        "n_tools = 1 \0",
        "answer = '\0'",
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_where(text)

    assert "--where" in caught.value.message
    assert caught.value.hint
