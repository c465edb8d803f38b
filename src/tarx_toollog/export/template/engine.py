"""Jinja as chat templates expect it: sandboxed, bounded, and with the functions that ``transformers`` gives them.

Owns the environment and the compilation of templates. It knows nothing of messages.

Theory: a chat template is a program that came with a model, so it is run like one from a stranger.

* The sandbox keeps it from Python's internals and from changing what it is given.
* A template has no endless loop, but loops over ranges in loops over ranges, and macros that call themselves, come
  close enough. Every loop is therefore rewritten, when it is compiled, so that its length is counted; so is every
  call. One render may spend ``MAX_STEPS`` of both together and write ``MAX_OUTPUT`` characters. Steps and characters,
  not seconds: the same template gives the same outcome on every machine.
* ``{% generation %}`` blocks say what an assistant wrote. They become two characters that no text may hold,
  ``SPAN_START`` and ``SPAN_END``, when the caller asks for them with variables of these names, and nothing otherwise.
  Counting characters while the text grows, as others do, goes wrong inside macros and filters.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tarx_toollog.export.template.errors import (
    TemplateFailedError,
    TemplateRefusedError,
    TemplateSyntaxError,
)

MAX_STEPS = 2_000_000
"""Loop passes of one render, calls included. A thousand messages with a hundred tools need less than a tenth."""
_STEPS_OF_A_CALL = 10  # what it costs, roughly, in passes of an empty loop
MAX_OUTPUT = 64 * 2**20
"""Characters of one render: four times the largest request body that is kept."""

SPAN_START, SPAN_END = "\ufdd0", "\ufdd1"
"""Noncharacters: Unicode reserves them for use inside a program."""
SPAN_VARIABLES = {"_span_start": SPAN_START, "_span_end": SPAN_END}

_METHODS = frozenset(dir(dict))
_COUNT = "_count_passes"


_FAILURES = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What the operations of a template raise on values that they cannot handle."""


class _Refusal(jinja2.TemplateError):
    """What ``raise_exception`` raises: the template's own words."""


class _SpentError(Exception):
    """A render went over its bounds."""


class _Generation(Extension):
    """The tag ``{% generation %} … {% endgeneration %}`` around what the assistant wrote."""

    tags = {"generation"}  # noqa: RUF012 - jinja declares it as a plain attribute

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        start, end = (nodes.Output([nodes.Name(name, "load")], lineno=line) for name in SPAN_VARIABLES)
        return nodes.Scope([start, *body, end], lineno=line)  # variables set inside stay inside


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with its counter. The counter is one for all renders of a template: use it from one thread."""

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"], cache_size=0
        )
        self.filters |= {"tojson": _to_json, _COUNT: self._count_passes}
        self.globals["raise_exception"] = _raise_exception
        del self.globals["lipsum"]  # writes as much as it is asked for
        self.steps = 0

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        for loop in source.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _COUNT, [], [], None, None, lineno=loop.lineno)
        return super()._generate(source, *args, **kwargs)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Take the short way to ``message.role``; the sandbox first finds out that objects have no such method."""
        if type(obj) is dict and attribute not in _METHODS:
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as in jinja
        __self.spend(_STEPS_OF_A_CALL)
        return super().call(__context, __obj, *args, **kwargs)

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise _SpentError(f"it took more than {MAX_STEPS:,} steps")

    def _count_passes(self, items: Any) -> Any:
        if type(items) is not list and not isinstance(items, Sized):
            if not isinstance(items, Iterable):
                return items  # the loop says what is wrong with it
            items = list(items)
        self.spend(len(items))
        return items


class CompiledTemplate:
    """A template, ready to run."""

    def __init__(self, text: str) -> None:
        """Compile ``text``.

        Raises:
            TemplateSyntaxError: It is not a template in the Jinja language.
        """
        self._environment = _Environment()
        try:
            self._template = self._environment.from_string(text)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateSyntaxError(
                f"the chat template has a syntax error in line {error.lineno}: {error.message}",
                hint="take the template as the model's tokenizer_config.json or chat_template.jinja has it; "
                "templates of Ollama are in another language (Go)",
            ) from error
        except RecursionError as error:
            raise TemplateSyntaxError("the chat template is nested too deep") from error

    def run(self, variables: Mapping[str, Any]) -> str:
        """Return what the template writes.

        Raises:
            TemplateRefusedError: The template says that it cannot write this.
            TemplateFailedError: It failed, or went over the bounds.
        """
        self._environment.steps = 0
        try:
            return self._gather(variables)
        except _Refusal as refusal:
            raise TemplateRefusedError(
                f"the chat template refuses: {refusal}", hint="toollog export lint says which message it means"
            ) from refusal
        except _SpentError as error:
            raise TemplateFailedError(
                f"the chat template does not come to an end: {error}", hint="look for a loop in a loop over range()"
            ) from error
        except _FAILURES as error:
            raise _failed(error) from error

    def _gather(self, variables: Mapping[str, Any]) -> str:
        pieces, length = [], 0
        for piece in self._template.generate(variables):
            length += len(piece)
            if length > MAX_OUTPUT:
                raise _SpentError(f"it wrote more than {MAX_OUTPUT:,} characters")
            pieces.append(piece)
        return "".join(pieces)


def _failed(error: Exception) -> TemplateFailedError:
    kind = "calls itself without end" if isinstance(error, RecursionError) else f"{type(error).__name__}: {error}"
    return TemplateFailedError(
        f"the chat template fails: {kind}",
        hint="toollog export lint says which value it cannot handle",
    )


@lru_cache(maxsize=32)
def compiled(text: str) -> CompiledTemplate:
    """Return the compiled template of a text; compiling takes some ten milliseconds, and runs share it.

    Raises:
        TemplateSyntaxError: It is not a template in the Jinja language.
    """
    return CompiledTemplate(text)


def literals(text: str) -> Iterator[str]:
    """Yield the texts that stand in a template: between its tags, and as strings inside of them.

    Raises:
        TemplateSyntaxError: It is not a template in the Jinja language.
    """
    compiled(text)  # says what is wrong
    tree = _Environment().parse(text)
    yield from (data.data for data in tree.find_all(nodes.TemplateData))
    yield from (each.value for each in tree.find_all(nodes.Const) if isinstance(each.value, str))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes for HTML, which chats are not."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise _Refusal(message)
