"""What of a suite hangs together, and in which order trials are read."""

from dataclasses import replace

from tarx_toollog.replay.reports.material import material
from tarx_toollog.store.suites import ScenarioRow
from tests.unit.replay.test_report import RUN, scenario, trial


def row(key: int, cluster: str | None = None) -> ScenarioRow:
    return ScenarioRow(key, f"s{key}", "t", "recall", "bronze", {}, 1.0, None, cluster)


def test_scenarios_of_one_conversation_or_of_one_cluster_are_one_group() -> None:
    places = [(None, "a"), ("k", "a"), ("k", "b"), (None, "b"), (None, "c"), ("l", "d"), ("l", "d")]
    frozen = [
        (row(key, cluster), replace(scenario(1), conversation_uid=conversation))
        for key, (cluster, conversation) in enumerate(places, 1)
    ]

    groups = [place.cluster for place in material(RUN, frozen, []).places.values()]

    assert [0, 0, 0, 0, 4, 5, 5] == [groups.index(group) for group in groups]


def test_trials_come_in_the_order_of_the_scenarios_whoever_answered_them_when() -> None:
    frozen = [(row(key), scenario(1, 2)) for key in (7, 3)]
    trials = [trial(3, 2, True), trial(7, 1, True), trial(3, 1, True), trial(7, 2, True)]

    found = material(RUN, frozen, trials).trials

    assert [(7, 1), (7, 2), (3, 1), (3, 2)] == [(one.scenario_id, one.step_no) for one in found]
