"""The label rule of docs/extending.md, installed and asked by the command that applies rules."""

import json
from pathlib import Path

from tarx_toollog.store.log import ToolLog
from tests.docs.test_extending import installed, run
from tests.support.builders import assistant, exchange, user

__all__ = ["installed"]  # the fixture


def test_a_label_rule_is_found_and_its_findings_are_kept(installed: Path) -> None:
    database = installed / "t.db"
    with ToolLog.open(database, read_only=False) as log:
        for said in ("go on", "thanks"):
            first, answer = [user(f"count, then {said}")], assistant("1 2 3")
            log.write([exchange(first, answer, finish_reason="length")])
            log.write([exchange([*first, answer, user(said)], assistant("4"))])
        uid = next(turn.steps[-1].exchange_uid for turn in log.trajectories())

    apply = ("-m", "tarx_toollog", "--database", str(database), "labels")
    (counted,) = json.loads(run(installed, *apply, "apply", "--rule", "broken_off", "--json"))
    (kept,) = json.loads(run(installed, *apply, "list", "--json"))
    assert ("broken_off", 1, 1) == (counted["rule"], counted["found"], counted["new"])
    assert (uid, "rule", "broken_off", -1.0) == (
        kept["target_uid"], kept["annotator_kind"], kept["annotator"], kept["value_num"]
    )  # fmt: skip
