"""How hard a step is, is counted when it is frozen: what is taken out of its texts later changes no figure."""

import json

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.reports.axes import axes, bins
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.suites.freeze import stored

N_SHORT = 20


def frozen(address: str) -> Scenario:
    messages = ({"role": "user", "content": f"Write to {address}."},)
    call = Call("send", {"to": address})
    return Scenario("c", 1, (ScenarioStep(1, "", messages, (), {}, (call,), Recorded({}, None, None)),))


def redacted(scenario: Scenario, address: str) -> Scenario:
    """Return a scenario as it is read after its address was taken out of what is stored."""
    text = json.dumps(stored(scenario).definition)
    return Scenario.from_json(json.loads(text.replace(address, "<EMAIL:3f2a>")))


def test_a_scenario_is_as_hard_as_it_was_when_it_was_frozen() -> None:
    addresses = [f"{'ann' * length}@example.org" for length in range(1, 2 * N_SHORT + 1)]
    before = [frozen(address) for address in addresses]
    after = [redacted(scenario, address) for scenario, address in zip(before, addresses, strict=True)]

    placed = [
        [(scenario.steps[0], str(number), number < N_SHORT) for number, scenario in enumerate(scenarios)]
        for scenarios in (before, after)
    ]

    assert 1 == len({axes(scenario.steps[0])["prompt"] for scenario in after})
    assert {"prompt"} == {found.axis for found in bins(placed[0])}
    assert bins(placed[0]) == bins(placed[1])


def test_how_hard_it_is_says_nothing_of_what_is_asked() -> None:
    scenario = frozen("ann@example.org")
    read = Scenario.from_json(stored(scenario).definition)
    assert (scenario, scenario.content_hash) == (read, read.content_hash)
    assert axes(scenario.steps[0]) == read.steps[0].axes
