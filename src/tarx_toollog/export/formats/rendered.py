"""``rendered``: text, made with the chat template that is served or named. For trainers that take prompt and answer so.

=======  ==========================================
task     keys, all of them text but ``label``
=======  ==========================================
``sft``  ``prompt``, ``completion``
``dpo``  ``prompt``, ``chosen``, ``rejected``
``kto``  ``prompt``, ``completion``, ``label``
=======  ==========================================

The prompt is what the model reads when it is used, up to the opening of its answer; the completion is what it writes,
with the token that ends it. So the loss sees exactly what is served, whatever the trainer knows of chat templates.
"""

import json
from pathlib import Path

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Message, Row, Summary, Task, Unit
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits
from tarx_toollog.export.template.errors import TemplateError
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.render_rules import answer_rules

README = """\
# Rows in the text of the chat template

Every special token of the template stands in the text already, the one at the beginning included. So tell the trainer
to add none: no chat template, no `bos` (`add_special_tokens=False`), and none at the end.

Learn the completion only (`completion_only_loss` in TRL). Do not give this folder to `mlx_lm.lora`: it takes `prompt`
for a user's words, and puts its own chat template around them. The format `mlx` is for that.
"""


class RenderedFormat:
    """The format, as the registry holds it."""

    name = "rendered"
    about = "prompt and completion as text, in the chat template that is served or named"
    tasks: frozenset[Task] = frozenset({"sft", "dpo", "kto"})
    units: frozenset[Unit] = frozenset({"step"})

    def writer(self, folder: Path, options: FormatOptions) -> "RenderedWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: There is no chat template, it is none, or trajectories were asked for.
        """
        check_fits(self, options)
        if options.template is None:
            raise ConfigError(
                "format rendered needs the chat template, and none is known",
                hint="give one with --template FILE, or with --template server while the model is served",
            )
        template = ChatTemplate(options.template, tokens=options.template_tokens, variables=options.template_variables)
        return RenderedWriter(folder, template)


class RenderedWriter:
    """Writes one file a split, and a page that says how to train on it."""

    def __init__(self, folder: Path, template: ChatTemplate) -> None:
        self._folder = folder
        self._template = template
        self._files = JsonlFiles(folder)

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: The template cannot write the chat, or leaves out what the answer says; or more than the last
                message is to be learned.
        """
        if not row.is_only_last_learned:
            raise Dropped("needs_mask")
        prompt, answer = self._texts(row, row.answer)
        value: dict[str, str | bool] = {"prompt": prompt}
        if row.rejected is None:
            value["completion"] = answer
        else:
            rejected_prompt, value["rejected"] = self._texts(row, row.rejected)
            if rejected_prompt != prompt:
                raise Dropped("format_cannot_say")
            value["chosen"] = answer
        if row.label is not None:
            value["label"] = row.label
        return self._files.add(row.split, json.dumps(value, ensure_ascii=False))

    def finish(self, summary: Summary) -> None:
        """Write the page."""
        write_private(self._folder / "README.md", README)

    def close(self) -> None:
        """Close all files."""
        self._files.close()

    def _texts(self, row: Row, answer: Message) -> tuple[str, str]:
        try:
            rendered = self._template.prompt_and_answer([*row.prompt, answer], row.tools or None)
        except TemplateError:
            raise Dropped("format_cannot_say") from None
        # Trainers accept a completion that is empty or says less, and teach the model to say no more than that.
        if not rendered.answer.strip() or any(answer_rules(answer, rendered)):
            raise Dropped("format_cannot_say")
        return rendered.prompt, rendered.answer
