"""What can be wrong with a chat template. All of it is a ``ConfigError``: the template was chosen by a person."""

from tarx_toollog.errors import ConfigError


class TemplateError(ConfigError):
    """A chat template cannot be used, or cannot be used for these messages."""


class TemplateSyntaxError(TemplateError):
    """The text is not a template in the Jinja language."""


class TemplateRefusedError(TemplateError):
    """The template itself says that it cannot write these messages (``raise_exception``)."""


class TemplateFailedError(TemplateError):
    """The template came upon a value that it cannot handle, or did far more work than a chat needs."""


class TemplatePrefixError(TemplateError):
    """The text of the whole chat does not begin with the text of its history: there is no prompt to cut off."""
