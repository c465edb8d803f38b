"""What an export needs before it reads its first example: the template, the rules, and what must not be learned."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tarx_toollog.export.documents import document
from tarx_toollog.export.example import Example, Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.judge_process import JudgeProcess
from tarx_toollog.export.judging import Judge, JudgeHere, Questions, cleaner_of, evaluation
from tarx_toollog.export.near import NearIndex
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.redact import Cleaner
from tarx_toollog.export.stages import Captured
from tarx_toollog.export.template.codes import CODES
from tarx_toollog.export.template.load import SERVER, Loaded, choose_template
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.render_rules import TemplateCheck
from tarx_toollog.store.answers import queries
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.templates import served_templates

APART_FROM = 20_000
"""Steps from which a second process searches the evaluation: of fewer, its start would be felt."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """Everything that is found out before the first example."""

    last_exchange: int
    """Key of the latest exchange: all that came up to it had its chance."""
    captured: Captured
    template: ChatTemplate | None
    """The one to train with, which rows are held against."""
    served: ChatTemplate | None
    """The one that the server answers with."""
    template_hash: str | None
    cleaner: Cleaner
    normaliser: Normaliser
    questions: Questions | None
    """Holds examples against the evaluation; None when nobody wants that."""
    judge: Judge | None
    near: NearIndex | None
    row_check: TemplateCheck | None
    warnings: tuple[str, ...]

    def look(self, example: Example, key: int) -> None:
        """Have an example compared with the evaluation, and remember it for the search for near duplicates."""
        if self.questions is not None:
            self.questions.ask(key, example)
        if self.near is not None:
            values = [piece.value for piece in example.messages]
            tools = None if example.tools is None else example.tools.value
            worse = None if example.rejected is None else example.rejected.value
            text = document(values[:-1], values[-1], tools, example.targets, rejected=worse, label=example.label)
            self.near.add(key, text)

    def template_check(self, row: Row) -> tuple[str, ...]:
        """Return the codes of what is found when a row is held against the chat template."""
        return () if self.row_check is None else self.row_check.check(row)

    def format_options(self, options: ExportOptions, upstream: str) -> FormatOptions:
        """Return what formats want to know."""
        return FormatOptions(
            task=options.task,
            unit=options.unit,
            base_model=options.base_model,
            template=None if self.template is None else self.template.text,
            template_tokens={} if self.template is None else self.template.tokens,
            served_template=None if self.served is None else self.served.text,
            parquet=options.parquet,
            build_name=options.name,
            upstream=upstream,
            seed=options.seed,
        )


@contextmanager
def prepared(log: ToolLog, options: ExportOptions, folder: Path) -> Iterator[Preparation]:
    """Yield what an export needs; temporary files lie in ``folder``.

    Raises:
        ConfigError: The template or the rules cannot be used.
        NothingMatchedError: There is no such replay run.
    """
    last_exchange = queries.last_key(log.engine)  # before reading
    (template, served), warnings = _template(log, options)
    cleaner = cleaner_of(log, options)
    normaliser = Normaliser(
        cleaner.message,
        clean_tool=cleaner.tool,
        is_plain=cleaner.is_plain,
        keep_reasoning=options.keep_reasoning,
        forbidden=template.special_tokens if template is not None else frozenset(),
    )
    row_check = None if template is None else TemplateCheck(template, served_sha=None if served is None else served.sha)
    if row_check is not None:
        warnings += [f"the chat template: {CODES[code].what} ({code})" for code in row_check.always]
    captured = Captured(
        n_exchanges=queries.count_captured(log.engine),
        n_steps=queries.count_steps(log.engine, Filters()),
        n_meant=queries.count_steps(log.engine, options.filters),
    )
    with ExitStack() as stack:
        near = None if options.near is None else stack.enter_context(closing(NearIndex(folder)))
        judge = _judge(log, options, folder, captured.n_meant, stack) if options.decontaminate else None
        yield Preparation(
            last_exchange=last_exchange,
            captured=captured,
            template=template,
            served=served,
            template_hash=None if template is None else template.sha,
            cleaner=cleaner,
            normaliser=normaliser,
            questions=None if judge is None else Questions(judge),
            judge=judge,
            near=near,
            row_check=row_check,
            warnings=tuple(warnings),
        )


def _judge(log: ToolLog, options: ExportOptions, folder: Path, n_steps: int, stack: ExitStack) -> Judge:
    if n_steps < APART_FROM:
        return JudgeHere(evaluation(log, options))
    return stack.enter_context(closing(JudgeProcess(log.settings, options, folder)))


def _template(log: ToolLog, options: ExportOptions) -> tuple[Loaded, list[str]]:
    """Return the template that the rows are held against, and what is to be said about it."""
    served, others = served_templates(log.engine, options.filters)
    if options.template is None and (served is None or served.syntax != "jinja"):
        return Loaded(None, None), ["the served chat template is not known: rows were not held against it"]
    warnings = []
    if served is not None and others:
        warnings.append(
            f"rows come from several builds: the chat template of {served.build} is taken for the served one, "
            f"and {', '.join(others)} had another, or did not tell; --build chooses"
        )
    return choose_template(served, options.template or SERVER), warnings
