"""What a person reads of a definition, and of what changed in it."""

from typing import Any

from tarx_toollog.store.answers.definition_diff import Change, Parameter, changes, parameters


def entry(description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": "save", "description": description, "parameters": schema}}


def test_parameters_are_told_in_their_order_with_what_else_is_said_of_them() -> None:
    described = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "A name."},
            "mood": {"enum": ["good", "bad"]},
            "size": {"type": ["integer", "null"], "minimum": 1},
            "odd": True,
        },
        "required": ["title"],
    }
    assert [
        Parameter("title", "string", True, "A name.", {}),
        Parameter("mood", "any", False, "", {"enum": ["good", "bad"]}),
        Parameter("size", "integer or null", False, "", {"minimum": 1}),
        Parameter("odd", "any", False, "", {}),
    ] == parameters(described)


def test_what_is_no_schema_of_an_object_has_no_parameters() -> None:
    schemas: list[Any] = [None, True, [], {"type": "string"}, {"properties": []}, "text"]
    for schema in schemas:
        assert [] == parameters(schema)
    assert [False] == [one.is_required for one in parameters({"properties": {"a": {}}, "required": "a"})]


def test_two_versions_differ_where_a_key_came_went_or_changed() -> None:
    before = entry("Save.", {"title": {"type": "string"}, "mood": {"type": "string"}}, ["title"])
    after = entry("Save it.", {"title": {"type": "string"}, "a/b": {"type": "integer"}}, ["title", "a/b"])

    assert [
        Change("/description", True, True, "Save.", "Save it."),
        Change("/parameters/properties/mood", True, False, {"type": "string"}, None),
        Change("/parameters/properties/a~1b", False, True, None, {"type": "integer"}),
        Change("/parameters/required", True, True, ["title"], ["title", "a/b"]),
    ] == changes(before, after)


def test_the_same_definition_has_no_changes_and_true_is_not_one() -> None:
    same = entry("Save.", {"title": {"default": 1}}, [])
    assert [] == changes(same, same)
    assert ["/parameters/properties/title/default"] == [
        change.path for change in changes(same, entry("Save.", {"title": {"default": True}}, []))
    ]
