"""A run as JUnit XML, which CI servers show: a suite for each signature, a case for each step."""

import json
from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree as ET

from tarx_toollog.replay.reports.details import StepDetail
from tarx_toollog.replay.reports.report import Report
from tarx_toollog.replay.reports.text_report import tier_statement
from tarx_toollog.replay.scorers.findings import CODES

_NO_SIGNATURE = "(answer)"


def report_junit(report: Report, steps: Iterable[StepDetail]) -> str:
    """Return the run as XML: failures with their codes, steps that could not be judged as skipped."""
    ordered = sorted(steps, key=lambda step: (step.signature, step.scenario_uid, step.step_no))
    root = ET.Element("testsuites", name=_clean(f"toollog replay {report.run.name}"))
    for signature, of in groupby(ordered, key=lambda step: step.signature):
        cases = list(of)
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_clean(signature or _NO_SIGNATURE),
            tests=str(len(cases)),
            failures=str(sum(step.state == "wrong" for step in cases)),
            skipped=str(sum(step.state == "unjudged" for step in cases)),
        )
        for step in cases:
            _case(suite, step)
    properties = {
        "model": report.run.model,
        "tag": report.run.tag,
        "chains_right": f"{report.chains.numerator}/{report.chains.denominator}",
        **({"frontier": report.frontier.sentence} if report.survival else {}),
        "valid": str(report.is_valid).lower(),
        "meaning": tier_statement(report),
        **{f"tier_{name}": str(count) for name, count in report.tiers.items()},
    }
    first = root.find("testsuite")
    if first is not None:
        holder = ET.Element("properties")
        first.insert(0, holder)
        for name, value in properties.items():
            ET.SubElement(holder, "property", name=name, value=_clean(value))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(suite: ET.Element, step: StepDetail) -> None:
    place = f"step {step.step_no}" if step.step_no else "whole turn"
    name = f"{step.scenario_uid} {place}: {step.asked[:80]}"
    case = ET.SubElement(suite, "testcase", classname=_clean(step.signature or _NO_SIGNATURE), name=_clean(name))
    if step.state == "unjudged":
        ET.SubElement(case, "skipped", message=_clean(step.error or CODES.get(step.code or "", "not judged")))
    elif step.state == "wrong":
        code = step.code or "wrong"
        failure = ET.SubElement(case, "failure", type=_clean(code), message=_clean(CODES.get(code, code)))
        failure.text = _clean("\n".join(json.dumps(dict(found), ensure_ascii=False) for found in step.findings))


def _clean(text: str) -> str:
    """Return text without the characters that XML cannot hold."""
    return "".join(
        c if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "�" for c in text
    )
