"""Where a chat template comes from: the server's own, as a probe found it, a file, or one that TRL brings."""

from pathlib import Path
from typing import NamedTuple

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.sources import template_from_file, template_from_trl
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.templates import StoredTemplate, template_of

SERVER = "server"
TRL = "trl:"


class Loaded(NamedTuple):
    """The template that was asked for, and what the server answers with."""

    template: ChatTemplate | None
    served: ChatTemplate | None
    """The one that the server answers with, where it is known."""

    @property
    def served_sha(self) -> str | None:
        """Hash of the served template, where it is known."""
        return None if self.served is None else self.served.sha


def load_template(settings: Settings, name: str | None) -> Loaded:
    """Return the template called ``name``: ``server``, ``trl:NAME`` or the path of a file; None for none.

    Raises:
        ConfigError: It cannot be read, is no template, or the server's is not known.
    """
    if name is None:
        return Loaded(None, None)
    try:
        with ToolLog.open(settings=settings) as log:
            served = template_of(log.engine)
    except StoreError:
        if name == SERVER:
            raise
        served = None
    return choose_template(served, name)


def choose_template(served: StoredTemplate | None, name: str) -> Loaded:
    """Return the template called ``name``; special tokens are those that the server told.

    Raises:
        ConfigError: It cannot be read, is no template, or the server's is not known.
    """
    tokens = {} if served is None else served.tokens
    found = None if served is None or served.syntax != "jinja" else served
    served_text = None if found is None else found.tool_text or found.text
    template = None if served_text is None else ChatTemplate(served_text, tokens=tokens)
    if name.startswith(TRL):
        return Loaded(template_from_trl(name.removeprefix(TRL), tokens=tokens), template)
    if name != SERVER:
        return Loaded(template_from_file(Path(name), tokens=tokens), template)
    if template is None:
        raise ConfigError(
            "no server has told its chat template, or not one in the Jinja language",
            hint="let `toollog serve` run in front of the server once, or name a file",
        )
    return Loaded(template, template)
