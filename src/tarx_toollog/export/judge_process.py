"""A judge in a process of its own, so that a large evaluation is read and searched while the log is read.

Questions are appended to a file, and the process is told through a pipe how long the file is: it begins with reading
the evaluation, and nobody has to wait for it meanwhile. A pipe that is closed says that there is nothing more to come,
also when this process was killed; then the other one ends, too.
"""

import pickle
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tarx_toollog.config import Settings
from tarx_toollog.errors import ToolLogError
from tarx_toollog.export.judging import JudgeHere, Question, Verdict, evaluation
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.scratch import rare_collections
from tarx_toollog.store.log import ToolLog

_BATCH = 500  # questions that are written at once
_LENGTH = struct.Struct("<Q")
_START = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"


class JudgeProcess:
    """The judge, seen from here.

    Args:
        settings: Of the log.
        options: Of the export.
        folder: For what is asked; private, and removed by somebody else.
    """

    def __init__(self, settings: Settings, options: ExportOptions, folder: Path) -> None:
        self._questions: list[Question] = []
        self._path = folder / "questions"
        self._file = self._path.open("xb")
        self._errors = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the process
        start = _START.format(path=sys.path, module=__name__)
        self._process = subprocess.Popen(  # noqa: S603 - our own code
            [sys.executable, "-c", start],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._tell(pickle.dumps((settings, options, self._path)))

    def ask(self, question: Question) -> None:
        """Take one question."""
        self._questions.append(question)
        if len(self._questions) >= _BATCH:
            self._write()

    def verdicts(self) -> Iterator[Verdict]:
        """Yield what must not be trained on.

        Raises:
            ToolLogError: The process failed.
        """
        self._write()
        answer, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise self._failed()
        verdicts: list[Verdict] = pickle.loads(answer)  # noqa: S301 - our own process
        return iter(verdicts)

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._file.close()
        self._errors.close()

    def _write(self) -> None:
        pickle.dump(self._questions, self._file, pickle.HIGHEST_PROTOCOL)
        self._file.flush()
        self._questions.clear()
        self._tell(_LENGTH.pack(self._file.tell()))

    def _tell(self, data: bytes) -> None:
        stream = _of(self._process.stdin)
        try:
            stream.write(data)
            stream.flush()
        except BrokenPipeError as error:
            self._process.wait()
            raise self._failed() from error

    def _failed(self) -> ToolLogError:
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        status = self._process.returncode
        what = last or (f"it was killed by signal {-status}" if status < 0 else f"it ended with status {status}")
        return ToolLogError(
            f"the search for what is kept for evaluation failed: {what}",
            hint="it needs a second process and memory for all evaluation; --no-decontaminate leaves the search out",
        )


def main() -> None:
    """Judge what is asked: the other end of ``JudgeProcess``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asks ends first, and closes the pipe
    told = sys.stdin.buffer
    settings, options, path = pickle.load(told)  # noqa: S301 - our own process
    with rare_collections(), ToolLog.open(settings=settings) as log:
        judge = JudgeHere(evaluation(log, options))
    with rare_collections(), path.open("rb") as stream:
        while length := told.read(_LENGTH.size):
            while stream.tell() < _LENGTH.unpack(length)[0]:
                for question in pickle.load(stream):  # noqa: S301 - our own process
                    judge.ask(question)
    pickle.dump(list(judge.verdicts()), sys.stdout.buffer)


def _of(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
