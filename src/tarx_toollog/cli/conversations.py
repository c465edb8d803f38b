"""``toollog conversations``: whole dialogues."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.readable import conversation_text
from tarx_toollog.cli.tree import tree_text, tree_value
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.conversation_trace import whole_conversation
from tarx_toollog.store.filters import Filters

LIST_LIMIT = 50
COLUMNS = (
    "conversation_uid",
    "external_id",
    "source",
    "split",
    "first_at",
    "last_at",
    "n_turns",
    "n_exchanges",
    "n_tool_calls",
    "n_bad_calls",
    "n_error_results",
    "user_text",
)
SPARE = ("split", "source", "external_id", "first_at", "n_exchanges", "n_error_results", "n_bad_calls")
"""What a narrow terminal does without; the first goes first."""


@click.group()
def group() -> None:
    """Look at conversations: list, show."""


@group.command("list")
@filter_options(limit=LIST_LIMIT)
@output_options
@pass_app
def list_(app: App, filters: Filters, output: Output) -> None:
    """List conversations, newest first.

    A filter keeps those with an exchange that fits it. user_text is the beginning of what the user said first.
    """
    with app.log() as log:
        if not emit_rows(queries.conversations(log.engine, filters), COLUMNS, output, spare=SPARE):
            app.say("nothing matched")


@group.command()
@click.argument("conversation_id", metavar="ID")
@click.option("--tree", is_flag=True, help="A line for each step, and the branches beside the main line.")
@output_options
@pass_app
def show(app: App, conversation_id: str, tree: bool, output: Output) -> None:
    """Show a conversation as a chat, with every call and its result.

    ID is a conversation_uid of `toollog conversations list`, the beginning of one, or the client's own id. Answers
    that were asked for again, and questions that the user changed afterwards, are branches: --tree shows where.
    """
    with app.log() as log:
        if tree:
            with log.engine.connect() as connection:
                parts = list(whole_conversation(connection, conversation_id))
            emit_object(tree_value(parts), tree_text(parts), output)
            return
        facts, turns = queries.conversation_detail(log.engine, conversation_id)
    value = facts | {"turns": [turn.facts | {"steps": turn.steps} for turn in turns]}
    emit_object(value, conversation_text(facts, turns), output)
