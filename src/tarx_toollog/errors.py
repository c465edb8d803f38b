"""The whole error tree. Every error says what is wrong and, in ``hint``, what to do about it.

::

    ToolLogError                 exit 1   anything of ours that a person can mend
    ├── ConfigError              exit 2   a setting or an option is wrong
    ├── NothingMatchedError      exit 3   the filters leave no rows
    ├── CheckFailedError         exit 4   a gate is not met, a file is not valid
    ├── EndpointError            exit 5   the model server cannot be reached or refuses
    └── StoreError               exit 6   the database is busy, damaged, newer or older than the code
        ├── SchemaOutdatedError
        ├── SchemaTooNewError
        └── JournalError

Nothing else may leave a public function on purpose; any other exception is a bug of ours.
"""

LIST_ENTRY = "\n  - "
"""What stands before each entry of a list that a message ends with."""


class ToolLogError(Exception):
    """Base of all errors that are meant for a person.

    Args:
        message: One line that says what is wrong; a list may stand below it (``LIST_ENTRY``).
        hint: One line that says how to mend it; empty when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(ToolLogError):
    """A setting, an environment variable or an option has a value that cannot work."""

    exit_code = 2


class NothingMatchedError(ToolLogError):
    """The filters given leave nothing to work on."""

    exit_code = 3


class CheckFailedError(ToolLogError):
    """A check that was asked for did not pass: a gate, a lint, a verification."""

    exit_code = 4


class EndpointError(ToolLogError):
    """The model server cannot be reached, or answers something that is not a model server."""

    exit_code = 5


class StoreError(ToolLogError):
    """The database cannot be used as it is: busy, damaged, unreadable."""

    exit_code = 6


class SchemaOutdatedError(StoreError):
    """The database was made by an older version; ``toollog db upgrade`` brings it up to date."""


class SchemaTooNewError(StoreError):
    """The database was made by a newer version than the one that is running."""


class JournalError(StoreError):
    """A journal segment cannot be written or read."""
