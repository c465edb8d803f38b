"""Everything that an export reads, one source after the other: the log, then files in the order of their options."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tarx_toollog.export.example import Example, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.preparation import Preparation
from tarx_toollog.export.sources.identity import IdentityOptions, identity_examples
from tarx_toollog.export.sources.identity_file import IdentityNames, IdentityRow, read_identity
from tarx_toollog.export.sources.identity_lint import IdentityLint
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.log import log_examples
from tarx_toollog.export.sources.log_sample import LogSample
from tarx_toollog.export.sources.pairs import dpo_examples, kto_examples
from tarx_toollog.export.sources.steps import Advance, LogOptions
from tarx_toollog.export.sources.summaries import SummaryOptions, check_summaries, summary_examples
from tarx_toollog.export.sources.synthetic import synthetic_examples
from tarx_toollog.export.sources.variants import variant_examples
from tarx_toollog.model import Trajectory
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.variants import Variants

Found = Iterator[Example | Refused]


class Reading:
    """Reads the sources of one export. What is wrong with a file is known before the log is read.

    Args:
        log: The store.
        options: What was asked for.
        prepared: Makes messages canonical, and clean.

    Raises:
        ConfigError: A file cannot be read.
    """

    def __init__(self, log: ToolLog, options: ExportOptions, prepared: Preparation) -> None:
        self._log = log
        self._options = options
        self._prepared = prepared
        self._names = IdentityNames(options.own_name, options.own_author)
        self._lint = IdentityLint(self._names.own)
        self._sample = LogSample(options.seed)
        self._intakes: list[Intake] = []
        self._identity: list[tuple[IdentityRow, ...]] = [
            read_identity(path, self._names, self._intake(path)) for path in options.identity
        ]
        for path in options.summaries:
            check_summaries(path, Intake(path.name))
        for path in options.synthetic:
            for _ in synthetic_examples(path, Intake(path.name), Normaliser()):
                pass
        self.n_read = 0
        """Steps of the log, answers of replays and examples of files so far."""
        self.claims: dict[str, int] = {}
        """Answers in which the model calls itself somebody else, by that name."""

    @property
    def imports(self) -> list[dict[str, Any]]:
        """What the import of each file tells."""
        return [intake.as_json() for intake in self._intakes]

    def examples(self, advance: Advance) -> Found:
        """Yield the examples of every source, and what cannot be one with its reason.

        Args:
            advance: Called for each step of the log.
        """

        def read() -> None:
            self.n_read += 1
            advance()

        keeps_sample = bool(self._options.identity or self._options.summaries)
        for found in self._from_log(read):
            if isinstance(found, Example) and self._claims_another_name(found):
                yield Refused(found.source, found.origin, "other_identity")
                continue
            if keeps_sample and isinstance(found, Example):
                self._sample.observe(found)
            yield found
        for found in self._from_files():
            self.n_read += 1
            is_foreign = isinstance(found, Example) and found.source != "identity" and self._claims_another_name(found)
            yield Refused(found.source, found.origin, "other_identity") if is_foreign else found

    def _from_log(self, advance: Advance) -> Found:
        options, normaliser = self._options, self._prepared.normaliser
        asked = LogOptions(options.unit, options.gate, includes_eval=options.includes_eval)
        if options.task == "dpo":
            yield from dpo_examples(self._turns(), normaliser, asked, advance, Variants(self._log).others)
            if options.variants:
                yield from variant_examples(self._log, options.variants, normaliser, asked, advance)
        elif options.task == "kto":
            yield from kto_examples(self._turns(), normaliser, asked, advance)
        else:
            yield from log_examples(self._turns(), normaliser, asked, advance)

    def _turns(self) -> Iterator[Trajectory]:
        return self._log.trajectories(self._options.filters)

    def _from_files(self) -> Found:
        options, normaliser, sample = self._options, self._prepared.normaliser, self._sample
        for path in options.summaries:
            yield from summary_examples(path, self._intake(path), normaliser, sample, SummaryOptions())
        identity = IdentityOptions(self._names, injected_identity=self._injected, seed=options.seed)
        for rows, intake in zip(self._identity, self._intakes, strict=False):
            yield from identity_examples(rows, intake, normaliser, sample, identity)
        for path in options.synthetic:
            yield from synthetic_examples(path, self._intake(path), normaliser, options.unit)

    @property
    def _injected(self) -> str | None:
        check = self._prepared.row_check
        return None if check is None else check.traits.identity

    def _intake(self, path: Path) -> Intake:
        self._intakes.append(Intake(path.name))
        return self._intakes[-1]

    def _claims_another_name(self, example: Example) -> bool:
        """Count an answer in which the model calls itself somebody else; say whether that spoils the identity rows."""
        claims = self._lint.learned_claims(example)
        for name in {claim.name for claim in claims}:
            self.claims[name] = self.claims.get(name, 0) + 1
        return bool(claims) and bool(self._options.identity)
