"""Makes up weeks of a Workbench with its model, in which the questions of an analyst have answers.

*Theory.* Everything comes from a seed. Dialogues begin when people work, and overlap. Each call carries a risk: that of
its tool, raised by the depth of its chain, the tools on offer, its arguments and how full the context is. If it
comes true, the call goes wrong in a way that its tool and the build favour, and the model tries again or gives up.
In week 3 another build is served, tools change their parameters, and one tool gets worse from week to week. Long notes
in system prompts, which many dialogues share, fill the context at no cost; when it is full, the server takes more than
it can hold, drops the front without a word, or refuses. Calls, results and texts have an id or a number of their own,
so no message but a system prompt occurs in two dialogues.

Tools, chains, clients and builds stand in ``weeks.json``.
"""

import itertools
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from math import log
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from bench.talks import (
    CHARACTERS_PER_TOKEN,
    CONTEXT,
    Asked,
    Dialogue,
    Ending,
    MadeUp,
    Message,
    Served,
    Toolset,
    as_json,
    uid_at,
)
from bench.weeks_words import Voice, misfit, notes, one_of
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.gaps import Gap
from tarx_toollog.store.labels import EXPECTED, QUALITY, NewLabel
from tarx_toollog.wire.model_facts import LLAMA_CPP, ModelFacts

_DATA = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
_TOOLS: dict[str, dict[str, Any]] = _DATA["tools"]
_START = datetime(2026, 10, 26, tzinfo=UTC)  # a Monday
_START_NS = int(_START.timestamp()) * 10**9
_MS, _HOUR, _WEEK = 10**6, 3600 * 10**9, 168 * 3600 * 10**9  # in nanoseconds
_TURNS = tuple(itertools.accumulate((46, 25, 13, 7, 4, 2, 2, 1)))  # weights of one to eight turns
_DEEPEST = 8
_PARALLEL, _GIVES_UP, _LEAVES, _INTERRUPTS, _BREAKS = 0.06, 0.3, 0.004, 0.003, 0.012
_COUNTS_ALL, _DROPS = 0.4, 0.7  # what a server does with a prompt that is too long, summed up; else it refuses
_AFTER_DROPPING = 0.58  # share of the context that is full then


class _Call(NamedTuple):
    """A call that the model makes, with what becomes of it."""

    call_id: str
    name: str
    arguments: str
    result: str
    waited_ns: int
    ran: bool
    """Whether a report of its run is sent."""
    failure: str | None


class _Offer(NamedTuple):
    """What one client offers in one week."""

    toolset: Toolset
    parameters: dict[str, dict[str, Any]]
    chains: list[list[str]]
    """Those that these tools allow."""
    weights: list[int]


def made_up(calls: int, weeks: int = 4, seed: int = 1) -> MadeUp:
    """Return a log of so many tool calls, or a few more, in so many weeks; the same numbers make the same."""
    offers = (_offer(number, week) for number in range(len(_DATA["toolsets"])) for week in range(1, weeks + 1))
    gaps = [
        Gap(gap["kind"], gap["n"], gap["detail"], _START + timedelta(hours=gap["hour"]))
        for gap in _DATA["gaps"]
        if gap["hour"] < 168 * weeks
    ]
    toolsets = dict.fromkeys(offer.toolset for offer in offers)
    return MadeUp(_dialogues(calls, weeks, seed), list(toolsets), _served(weeks), gaps)


def _served(weeks: int) -> list[Served]:
    """Return the builds: each until an hour before the next one, which takes that long to be seen."""
    found = []
    for number, build in enumerate(builds := [build for build in _DATA["builds"] if build["week"] <= weeks]):
        end = builds[number + 1]["week"] - 1 if number + 1 < len(builds) else weeks + 1
        facts = ModelFacts(
            server=LLAMA_CPP,
            model="tarx-7b",
            family="qwen2",
            quantization="Q4_K_M",
            file_name=build["file"],
            n_ctx=CONTEXT,
            n_ctx_train=CONTEXT,
        )
        begin = _START + timedelta(weeks=build["week"] - 1)
        found.append(Served(build["uid"], facts, begin, _START + timedelta(weeks=end, hours=-1)))
    return found


@cache
def _offer(number: int, week: int) -> _Offer:
    names = _DATA["toolsets"][number]
    versions = {name: next(one for one in reversed(_TOOLS[name]["versions"]) if one["week"] <= week) for name in names}
    chains = [(weight, chain.split()) for weight, chain in _DATA["chains"] if versions.keys() >= set(chain.split())]
    tools = [
        {"type": "function", "function": {"name": name, **{key: one[key] for key in ("description", "parameters")}}}
        for name, one in versions.items()
    ]
    parameters = {name: one["parameters"] for name, one in versions.items()}
    if week > 1 and _offer(number, week - 1).parameters == parameters:
        return _offer(number, week - 1)
    return _Offer(Toolset(tools), parameters, [chain for _, chain in chains], [weight for weight, _ in chains])


def _dialogues(calls: int, weeks: int, seed: int) -> Iterator[Dialogue]:
    """Yield dialogues in the order in which they begin, in each hour as many calls as are due in it."""
    shares = [_DATA["hours"][hour % 24] * _DATA["days"][hour // 24 % 7] for hour in range(168 * weeks)]
    total, due, done, last_ns = sum(shares), 0.0, 0, 0
    number = itertools.count()
    for hour, share in enumerate(shares):
        before, due = due, due + calls * share / total
        while done < min(due, calls):
            moment_ns = _START_NS + int((hour + (done - before) / (due - before)) * _HOUR)
            last_ns = max(moment_ns, last_ns + 100 * _MS)
            maker = _Maker(Random(f"{seed}/{(serial := next(number))}"), serial, last_ns)
            yield maker.made()
            done += maker.n_calls


# ---- one dialogue ---------------------------------------------------------------------------------------------------


class _Maker:
    """One dialogue while it is made."""

    def __init__(self, random: Random, serial: int, moment_ns: int) -> None:
        self._random = random
        self._hint = f"chat-{serial:07}"
        self._begun_ns = self._moment_ns = moment_ns
        self._week = 1 + (moment_ns - _START_NS) // _WEEK
        self._client = one_of(random, _DATA["clients"], [client["share"] for client in _DATA["clients"]])
        self._offer = _offer(self._client["toolset"], self._week)
        self._build = next(build for build in reversed(_DATA["builds"]) if build["week"] <= self._week)
        today = _START + timedelta(microseconds=(moment_ns - _START_NS) // 1000)
        self._voice = Voice(random, serial, today)
        self._system = self._system_prompt(today)
        self._size = len(self._system) + self._offer.toolset.size
        self._manner = random.random()  # decides what the server does with a prompt that is too long
        self._asked: list[Asked] = []
        self._labels: list[NewLabel] = []
        self._new: list[Message] = []
        self._ran: list[ExecutionReport] = []
        self._is_over = False
        self.n_calls = 0

    def made(self) -> Dialogue:
        """Make it."""
        (n_turns,) = self._random.choices(range(1, 9), cum_weights=_TURNS)
        breaks = self._random.random() < _BREAKS
        for left in range(n_turns - 1, -1, -1):
            self._turn(breaks=breaks and left == 0)
            if self._is_over:
                break
        return Dialogue(
            uid=uid_at(self._random, self._begun_ns),
            hint=self._hint,
            client_key=self._client["key"],
            system=self._system,
            toolset=self._offer.toolset,
            asked=tuple(self._asked),
            user_agent=self._client["agent"],
            labels=tuple(self._labels),
        )

    def _system_prompt(self, today: datetime) -> str:
        text = self._random.choice(_DATA["systems"])
        size = one_of(self._random, [size for _, size in _DATA["notes"]], [weight for weight, _ in _DATA["notes"]])
        return str(text).format(day=today.date()) + notes(size)

    def _turn(self, *, breaks: bool) -> None:
        """Let the user say something, and the model work on it until it answers."""
        random = self._random
        if self._asked:
            self._moment_ns += int(random.lognormvariate(log(20_000), 0.8)) * _MS
        self._new = [{"role": "user", "content": self._voice.text(random.randint(1, 4))}]
        chain = one_of(random, self._offer.chains, self._offer.weights).copy()
        for depth in range(1, _DEEPEST + 1):
            if not chain:
                break
            name = chain.pop(0)
            arguments = self._voice.arguments(self._offer.parameters[name])
            fault = self._fault(name, depth, len(arguments))
            if not self._act(name, arguments, fault):
                return
            if fault is not None:
                chain = [] if random.random() < _GIVES_UP else [name, *chain]
        ending: Ending = random.choice(("truncated", "disconnected", "error")) if breaks else "stop"
        self._say(self._voice.text(random.randint(1, 5)), ending)
        if random.random() < 0.004 and not self._is_over:
            self._label("exchange", self._asked[-1].uid, value_num=random.choice((1.0, 1.0, -1.0)))

    def _act(self, name: str, arguments: dict[str, Any], fault: str | None) -> bool:
        """Let the model call a tool, and say whether the turn goes on behind that."""
        if fault == "leaked":
            said = as_json({"name": name, "arguments": arguments})
            self._say(f"{self._voice.text(1)}\n<tool_call>\n{said}\n</tool_call>", "stop", is_spoiled=True)
            self.n_calls += not self._is_over
            return False
        calls = [self._call(name, arguments, fault)]
        if fault is None and self._random.random() < _PARALLEL:
            calls.append(self._call(name, self._voice.arguments(self._offer.parameters[name]), None))
        self._make(calls, "length" if fault == "cut" else "tool_calls")
        self.n_calls += 0 if self._is_over else len(calls)  # a server that refuses makes none
        chance = self._random.random()
        self._is_over |= chance < _LEAVES
        if self._is_over or fault == "cut" or chance < _LEAVES + _INTERRUPTS:
            return False
        self._take_results(calls)
        self._say_what_was_right(name, arguments, fault)
        return True

    def _fault(self, name: str, depth: int, n_arguments: int) -> str | None:
        """Return what goes wrong with a call, None as a rule."""
        tool = _TOOLS[name]
        fill = self._size / CHARACTERS_PER_TOKEN / CONTEXT
        risk = tool["risk"] * tool.get("weekly", 1.0) ** (self._week - 1) * self._build["risk"]
        risk *= (1 + 0.22 * (depth - 1)) * (1 + 0.1 * n_arguments) * (1 + 1.5 * fill * fill)
        risk *= 1 + 0.05 * (len(self._offer.parameters) - 6)
        if self._random.random() >= risk:
            return None
        faults: dict[str, float] = tool["faults"]
        weights = [weight * self._build["faults"].get(fault, 1) for fault, weight in faults.items()]
        return one_of(self._random, list(faults), weights)

    def _call(self, name: str, arguments: dict[str, Any], fault: str | None) -> _Call:
        tool, random = _TOOLS[name], self._random
        text = as_json(arguments)
        waited_ms, failure, ran = random.lognormvariate(log(tool["latency_ms"]), tool["spread"]), None, tool["ran"]
        if random.random() < tool["slow"]:
            waited_ms *= random.randint(8, 30)
        if fault is None:
            result = self._voice.result(tool)
        elif fault == "error":
            failure = random.choice(tool["errors"])
            result = failure if failure[0].isdigit() or failure.startswith("Error") else as_json({"error": failure})
        else:
            waited_ms, ran = 1 + 4 * random.random(), False
            name, text, result = self._spoil(name, arguments, text, fault)
        call_id = f"{random.getrandbits(128):032x}"
        return _Call(call_id, name, text, result, int(waited_ms * 1000) * 1000, ran, failure)

    def _spoil(self, name: str, arguments: dict[str, Any], text: str, fault: str) -> tuple[str, str, str]:
        """Return name, arguments and result of a call that is wrong in itself."""
        random = self._random
        if fault == "unknown":
            name = random.choice(_TOOLS[name]["also_called"])
            return name, text, f"unknown tool: {name}"
        if fault == "cut":
            return name, text[: random.randint(2, len(text) - 1)], ""
        if fault == "invalid":
            ways = (text[:-1], text.replace('"', "'"), text[: len(text) // 2], f"{text}}}", f"query={text[2:]}")
            return name, random.choice(ways), as_json({"error": "the arguments are not JSON"})
        return name, as_json(misfit(arguments, random)), as_json({"error": "the arguments do not fit the tool"})

    def _make(self, calls: Sequence[_Call], ending: Ending) -> None:
        made = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
        written = sum(len(call.name + call.arguments) + 30 for call in calls)
        self._ask({"role": "assistant", "content": None, "tool_calls": made}, ending, written, ending == "length")

    def _say(self, text: str, ending: Ending, *, is_spoiled: bool = False) -> None:
        self._ask({"role": "assistant", "content": text}, ending, len(text), is_spoiled or ending != "stop")
        self._is_over |= ending != "stop"

    def _ask(self, answer: Message, ending: Ending, written: int, is_spoiled: bool) -> None:
        """Add an exchange."""
        self._size += sum(len(message["content"]) + 30 for message in self._new)
        tokens, output = round(self._size / CHARACTERS_PER_TOKEN), round(written / CHARACTERS_PER_TOKEN) + 3
        if tokens > CONTEXT and self._manner >= _DROPS:
            ending, is_spoiled, self._is_over = "refused", True, True
        elif tokens > CONTEXT and self._manner >= _COUNTS_ALL:
            tokens = round(CONTEXT * _AFTER_DROPPING)
        took_ms = (60 + tokens * 0.04 + output * self._build["ms_per_token"]) * self._random.uniform(0.8, 1.3)
        uid, took_ns = uid_at(self._random, self._moment_ns), int(took_ms * 1000) * 1000
        new, ran = tuple(self._new), tuple(self._ran)
        self._asked.append(
            Asked(uid, self._moment_ns, took_ns, new, answer, ending, tokens, output, is_spoiled=is_spoiled, ran=ran)
        )
        self._size += written + 30
        self._moment_ns += took_ns
        self._new, self._ran = [], []

    def _take_results(self, calls: Sequence[_Call]) -> None:
        """Let the tools run side by side, and send back what they say."""
        for call in calls:
            self._new.append({"role": "tool", "tool_call_id": call.call_id, "content": call.result})
            if call.ran:
                self._ran.append(
                    ExecutionReport(
                        uid=uid_at(self._random, self._moment_ns),
                        started_ns=self._moment_ns + _MS,
                        took_ns=call.waited_ns,
                        source="decorator",
                        call_id=call.call_id,
                        name=call.name,
                        is_error=call.failure is not None,
                        error_type=None if call.failure is None else "ToolError",
                        error_text=call.failure,
                    )
                )
        self._moment_ns += max(call.waited_ns for call in calls) + self._random.randint(3, 30) * _MS

    def _say_what_was_right(self, name: str, arguments: dict[str, Any], fault: str | None) -> None:
        """Label a call that went wrong, now and then."""
        uid, chance = f"{self._asked[-1].uid}.0.0", self._random.random()
        if fault == "error" and chance < 0.05:
            label = NewLabel("tool_call", uid, QUALITY, -1.0, annotator_kind="rule", annotator="error_then_retry")
            self._labels.append(label)
        elif fault in ("invalid", "schema", "unknown") and chance < 0.02:
            self._label("tool_call", uid, name=EXPECTED, correction={"name": name, "arguments": arguments})

    def _label(self, kind: Any, uid: str, *, name: str = QUALITY, **verdict: Any) -> None:
        comment, annotator = self._random.choice(_DATA["comments"]), self._random.choice(("ana", "ben"))
        self._labels.append(NewLabel(kind, uid, name, comment=comment, annotator=annotator, **verdict))
