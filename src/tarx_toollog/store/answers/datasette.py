"""What Datasette is told about a store: a sentence for each table, view and column, and the ready queries.

The text is YAML, written as JSON strings within it: YAML takes every JSON string for what it is, and a question with a
colon needs no further care.
"""

import json
from collections.abc import Iterator

from tarx_toollog.store.answers.ready import GROUPS, Parameter, ReadyQuery, ready_queries
from tarx_toollog.store.schema import metadata
from tarx_toollog.store.views import VIEWS

_ABOUT = "Every exchange with the model, its tool calls and their results. Begin with the views and the queries."


def metadata_text(database: str) -> str:
    """Return the text of ``metadata.yaml``.

    Args:
        database: Datasette's name of the database: that of the file, without its ending.
    """
    return "\n".join(_lines(database)) + "\n"


def _lines(database: str) -> Iterator[str]:
    yield "title: tarx-toollog"
    yield f"description: {_quoted(_ABOUT)}"
    yield "databases:"
    yield f"  {_quoted(database)}:"
    yield "    tables:"
    for view in VIEWS:
        yield from _described(view.name, view.about, view.columns)
    for table in sorted(metadata.tables.values(), key=lambda item: item.name):
        yield from _described(
            table.name, table.comment or "", {column.name: column.comment or "" for column in table.columns}
        )
    yield "    queries:"
    for query in ready_queries():
        yield f"      {query.name}:"
        yield f"        title: {_quoted(query.title)}"
        yield f"        description: {_quoted(f'{GROUPS[query.group]} {query.reading}')}"
        yield f"        sql: {_quoted(_canned(query))}"


def _described(name: str, about: str, columns: dict[str, str]) -> Iterator[str]:
    yield f"      {name}:"
    yield f"        description: {_quoted(about)}"
    yield "        columns:"
    for column, sentence in columns.items():
        yield f"          {column}: {_quoted(sentence)}"


def _canned(query: ReadyQuery) -> str:
    """Return the SQL in which an empty field of the page is the default: Datasette has no defaults of its own."""
    by_name = {parameter.name: parameter for parameter in query.parameters}
    return query.replaced(lambda name: _with_default(by_name[name]))


def _with_default(parameter: Parameter) -> str:
    if not parameter.default:
        return f":{parameter.name}"
    given = f"COALESCE(NULLIF(:{parameter.name}, ''), '{parameter.default}')"
    return f"CAST({given} AS INTEGER)" if parameter.kind == "number" else given


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
