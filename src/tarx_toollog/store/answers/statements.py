"""Statements that a person may copy from a page, to ask the log further."""


def turns_statement(uid: str) -> str:
    """Return the statement that gives the turns of a conversation."""
    return f"SELECT * FROM v_turns WHERE conversation_uid = {_text(uid)} ORDER BY turn_no"  # noqa: S608 - for people


def exchange_statement(uid: str) -> str:
    """Return the statements that give an exchange, the calls of its answer, and what its request held."""
    return "\n".join(
        f"SELECT * FROM {view} WHERE exchange_uid = {_text(uid)};"  # noqa: S608 - for people
        for view in ("v_exchanges", "v_tool_calls", "v_request_messages")
    )


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
