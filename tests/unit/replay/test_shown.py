"""Looking values up in what a model was shown."""

from typing import Any

import pytest

from tarx_toollog.replay.shown import Shown, ShownCall


def said(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def calls(*ids: Any) -> dict[str, Any]:
    """Return a message with a call for each id; ``...`` stands for none."""
    entries = [
        {"function": {"name": f"tool{number}", "arguments": "{}"}, **({} if one is ... else {"id": one})}
        for number, one in enumerate(ids)
    ]
    return {"role": "assistant", "content": None, "tool_calls": entries}


def result(text: str, call_id: Any) -> dict[str, Any]:
    return {"role": "tool", "content": text, **({} if call_id is ... else {"tool_call_id": call_id})}


@pytest.mark.parametrize("values", [(5, "5"), ("5", 5)], ids=["the number first", "the text first"])
def test_what_is_found_does_not_depend_on_what_was_looked_up_before(values: tuple[Any, ...]) -> None:
    shown = Shown([said("take 5 of them")])
    assert {5: (0,), "5": ()} == {value: shown.places(value) for value in values}


@pytest.mark.parametrize("missing", [None, "", ...], ids=["null", "empty", "no key"])
def test_calls_without_ids_have_their_results_in_order(missing: Any) -> None:
    shown = Shown([said("go"), calls(missing, missing), result("first", missing), result("second", missing)])
    assert (ShownCall("tool0", {}, 1, "first", 2), ShownCall("tool1", {}, 1, "second", 3)) == shown.calls


def test_calls_with_ids_have_their_own_results_in_any_order() -> None:
    shown = Shown([said("go"), calls("a", "b"), result("of b", "b"), result("of a", "a")])
    assert ["of a", "of b"] == [call.result for call in shown.calls]
