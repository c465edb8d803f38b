"""A log with secrets in it, and ways to redact it and to look at what is left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from click.testing import CliRunner, Result

from tarx_toollog.cli.main import cli
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tarx_toollog.redaction import Redactor
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.store import schema
from tarx_toollog.store.engine import writer_engine
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.redact import StoreRedaction
from tests.support.builders import TOOLS, assistant, call, exchange, result, system, user

# Put together here, so that scanners of code hosts do not take them for real.
API_KEY = "sk-" + "proj-" + "Zq83hd72HsKd92mXa01lPq7Wb5Rt6Yu8"
WIFI = "Blaubeere-7!"
MAIL = "maria.huber@nordwind.se"
DB = "pg-Kd82hs9"
SECRETS = (API_KEY, WIFI, DB)


def tool_with_key() -> dict[str, Any]:
    described = {"name": "fetch", "description": f"Uses {API_KEY}", "parameters": {"type": "object", "properties": {}}}
    return {"type": "function", "function": described}


def dialogue() -> list[Exchange]:
    """Three exchanges of one dialogue: secrets in the prompt, in arguments, in a result and in the answer."""
    remember = call("tarx_remember", {"key": "wifi password", "value": WIFI}, "call-000001")
    history = [system(f"Mail of the user: {MAIL}"), user(f"My key is {API_KEY}, and remember my wifi password.")]
    first = exchange(history, assistant(None, remember), tools=TOOLS, params={"metadata": {"dsn": f"pg://a:{DB}@db/x"}})
    history = [*history, assistant(None, remember), result("call-000001", {"ok": True, "password": WIFI})]
    second = exchange(history, assistant(f"Saved. Your key {API_KEY} as well."), tools=TOOLS, at_s=2)
    history = [*history, assistant(f"Saved. Your key {API_KEY} as well."), user("Thanks, what else?")]
    third = exchange(history, assistant("Nothing."), tools=[*TOOLS, tool_with_key()], at_s=60)
    return [first, second, third]


def plain() -> Exchange:
    return exchange([user("What is the weather?")], assistant("Rain."), at_s=100, client_key="c2")


def failed() -> Exchange:
    body = {"error": {"message": f"cannot reach pg://a:{DB}@db/x", "type": "server_error"}}
    return exchange([user("Hello")], None, status=500, body=body, at_s=200, client_key="c3")


def fill(settings: Settings, exchanges: list[Exchange]) -> None:
    """Write exchanges as they are, as a store was filled before there were rules."""
    with ToolLog.open(settings=settings.model_copy(update={"redact": "off"}), read_only=False) as log:
        log.write(exchanges)


def scenario_hash(definition: Mapping[str, Any]) -> bytes:
    return Scenario.from_json(definition).content_hash


def apply(settings: Settings, redactor: Redactor, progress: Any = lambda n: None) -> Any:
    engine = writer_engine(settings)
    try:
        return StoreRedaction(engine, settings, redactor, scenario_hash).apply(examples=3, progress=progress)
    finally:
        engine.dispose()


def stored_bytes(settings: Settings) -> bytes:
    path = Path(settings.database)
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")) if file.is_file())


def content_of(settings: Settings) -> dict[str, Any]:
    """Return all that is addressed by content or meaning, without keys and times."""
    with ToolLog.open(settings=settings) as log, log.engine.connect() as connection:

        def read(*columns: sa.Column[Any]) -> list[str]:
            return sorted(repr(tuple(row)) for row in connection.execute(sa.select(*columns)))

        e, t = schema.exchange.c, schema.tool_call.c
        return {
            "message": read(*(c for c in schema.message.c if c.name != "id")),
            "node": read(schema.node.c.hash, schema.node.c.sem, schema.node.c.depth),
            "toolset": read(schema.toolset.c.hash, schema.toolset.c.n_tools),
            "tool_definition": read(schema.tool_definition.c.hash, schema.tool_definition.c.description),
            "exchange": read(e.uid, e.input_sem, e.output_sem, e.error_text, e.error_body, e.params, e.turn_no),
            "tool_call": read(t.exchange_id, t.name, t.arguments, t.arguments_json),
            "results": read(schema.tool_result.c.size, schema.tool_result.c.call_id, schema.tool_result.c.match_how),
            "references": [
                sorted(connection.execute(sa.select(schema.message.c.hash).join(table, column == schema.message.c.id)))
                for table, column in (
                    (schema.turn, schema.turn.c.user_message_id),
                    (schema.exchange, e.user_message_id),
                    (schema.tool_result, schema.tool_result.c.message_id),
                )
            ],
        }


def read_all(settings: Settings, exchanges: list[Exchange]) -> list[Exchange]:
    with ToolLog.open(settings=settings) as log:
        return [log.exchange(item.uid) for item in exchanges]


class Ran:
    """A command that has run."""

    def __init__(self, result: Result) -> None:
        self.code = result.exit_code
        self.output = result.output

    def check_ok(self) -> "Ran":
        assert 0 == self.code, self.output
        return self


def run(settings: Settings, *arguments: str) -> Ran:
    return Ran(CliRunner().invoke(cli, ["--database", settings.database, *arguments]))
