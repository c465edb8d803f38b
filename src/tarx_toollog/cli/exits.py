"""Exit codes, and the one place where an exception becomes two lines and a code.

==== ============================================================================
0    done (also an empty list, and when the reader of a pipe has had enough)
1    failed
2    usage: an option, a setting or a query is wrong
3    what was named is not there, or nothing is left to export or replay
4    a check found a problem
5    the model server cannot be reached
6    the database is missing, busy, damaged, older, newer, or of another program
7    a gate is inconclusive: the data do not say whether it is met
130  interrupted: with Ctrl-C, SIGTERM or SIGHUP
==== ============================================================================
"""

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from tarx_toollog.errors import LIST_ENTRY, ToolLogError

OK = 0
FAILED = 1
USAGE = 2
NOTHING = 3
CHECK_FAILED = 4
ENDPOINT = 5
STORE = 6
INCONCLUSIVE = 7
INTERRUPTED = 130


class ReaderGoneError(Exception):
    """Whoever read our output has closed the pipe. Raised in place of BrokenPipeError, which click would eat."""


def run(function: Callable[[], object], *, wants_traceback: Callable[[], bool]) -> int:
    """Call ``function`` and return the exit code of what happened.

    Args:
        function: Does the work; an int that it returns is the exit code.
        wants_traceback: Says, after the options are known, whether a traceback is to be shown.
    """
    try:
        result = function()
        sys.stdout.flush()
    except (ReaderGoneError, BrokenPipeError):
        _silence_stdout()
        return OK
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "toollog"
        is_file = isinstance(error, click.FileError)
        say_error(error.format_message(), "choose another file" if is_file else f"see `{path} --help`")
        return USAGE if isinstance(error, click.UsageError) else FAILED
    except Exception as error:  # noqa: BLE001 - the last line of defence: people get two lines, not a traceback
        if wants_traceback():
            traceback.print_exc()
        if isinstance(error, ToolLogError):
            say_error(error.message, error.hint)
            return error.exit_code
        hint = "this is a bug of toollog" + ("" if wants_traceback() else "; `toollog --debug …` shows where")
        say_error(_one_line(f"{type(error).__name__}: {error}"), hint)
        return FAILED
    return result if isinstance(result, int) else OK


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, so that a command tidies up. A signal that is heeded already stays.

    The same signal does nothing the second time: a terminal that closes may send it twice, while all is tidied up.
    """

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        ctrl_c = signal.getsignal(signal.SIGINT)
        (ctrl_c if callable(ctrl_c) else signal.default_int_handler)(signal.SIGINT, frame)

    numbers = []
    if threading.current_thread() is threading.main_thread():  # nobody else may set a handler
        numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def say_error(message: str, hint: str = "") -> None:
    """Write what is wrong, and how to mend it, each on one line of stderr; a list in the message keeps its lines."""
    entries = map(_one_line, message.split(LIST_ENTRY))
    click.echo(f"error: {LIST_ENTRY.join(entries)}", err=True)
    if hint:
        click.echo(f"hint: {_one_line(hint)}", err=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _silence_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter's last flush does not fail again."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass  # stdout is not a file (a test) or is closed already: there is nothing left to flush
