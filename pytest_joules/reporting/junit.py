"""JUnit XML: a file of its own from a stored run, and properties on the report that pytest writes.

The format has no standard; this is what pytest writes (``xunit2``) and junitparser, Jenkins and GitLab read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from pytest_joules.model import BudgetResult, RunResult, VerdictKind
from pytest_joules.reporting import markdown, terminal
from pytest_joules.reporting.escape import identifier, short, visible, xml
from pytest_joules.reporting.rows import MAIN, Row, row, rows, worst

LONGEST_MESSAGE = 2000

VERDICT = "energy_verdict"
"""The property that every test with a budget has: its worst verdict."""


def properties(results: Sequence[BudgetResult]) -> list[tuple[str, str]]:
    """Names and values of one test's numbers, for ``user_properties``; see ``docs/reports.md`` for the names.

    What belongs to a unit ends with ``_per_UNIT``, and what belongs to another window than ``main`` begins with
    ``energy_WINDOW``, so that a name stays what it is when a test gets another budget.
    """
    return _properties([row(result) for result in results])


def render(run: RunResult) -> str:
    """A test case for every declared budget; what fails is a failure, and what did not run is skipped."""
    judged = [told for told in rows(run) if told.declared]
    several = Counter(told.test for told in judged)
    suite = ET.Element("testsuite", name="energy", tests=str(len(judged)), errors="0")
    suite.set("failures", str(sum(told.failed for told in judged)))
    suite.set("skipped", str(sum(_is_skipped(told) for told in judged)))
    suite.set("time", _number(sum(told.seconds or 0.0 for told in judged)))
    if _is_time(run.created):
        suite.set("timestamp", run.created)
    _add_properties(suite, _origin(run))
    for told in judged:
        suite.append(_case(told, run, one_of_several=several[told.test] > 1))
    root = ET.Element("testsuites", name="pytest-joules")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _properties(found: Sequence[Row]) -> list[tuple[str, str]]:
    named: dict[str, str] = {}
    if kind := worst([told.result for told in found]):
        named[VERDICT] = kind.value
    for told in found:
        for name, value in _numbers(told):
            named.setdefault(name, value)
    return list(named.items())


def _case(told: Row, run: RunResult, *, one_of_several: bool) -> ET.Element:
    classname, name = _names(told.test)
    if one_of_several:
        name += f" [{told.window or MAIN}, J/{told.unit or told.result.budget.per or '?'}]"
    case = ET.Element("testcase", classname=xml(classname), name=xml(name), time=_number(told.seconds or 0.0))
    if told.place is not None:
        case.set("file", xml(told.place.file))
        if told.place.line is not None:
            case.set("line", str(told.place.line))
    _add_properties(case, _properties([told]))
    if told.failed:
        message = xml(short(terminal.headline(told.result), LONGEST_MESSAGE))
        ET.SubElement(case, "failure", type=told.verdict.value, message=message).text = _story(told, run)
    elif _is_skipped(told):
        ET.SubElement(case, "skipped", message=xml(short(told.result.verdict.reason, LONGEST_MESSAGE)))
    elif told.verdict is not VerdictKind.PASS:
        ET.SubElement(case, "system-out").text = _story(told, run)
    return case


def _story(told: Row, run: RunResult) -> str:
    return "\n".join(map(visible, markdown.story(told.result, run)))


def _is_skipped(told: Row) -> bool:
    return told.verdict is VerdictKind.UNMEASURED and not told.failed


def _names(test: str) -> tuple[str, str]:
    """``tests/test_a.py::TestB::test_c[d]`` as ``tests.test_a.TestB`` and ``test_c[d]``, as pytest does."""
    plain, bracket, parameters = test.partition("[")
    file, *inner = plain.split("::")
    if not inner:
        return "", test
    module = re.sub(r"\.py$", "", file).replace("/", ".")
    return ".".join([module, *inner[:-1]]), inner[-1] + bracket + parameters


def _numbers(told: Row) -> Iterator[tuple[str, str]]:
    stem = "energy" if told.window in ("", MAIN) else f"energy_{identifier(short(told.window, 60))}"
    if told.unit:
        per = f"per_{identifier(short(told.unit, 60))}"
        yield f"{stem}_verdict_{per}", told.verdict.value
        for name, value in (
            ("joules", told.joules_per_unit),
            ("baseline_joules", told.baseline),
            ("limit_joules", told.limit),
            ("ratio", told.ratio),
            ("ratio_low", told.ratio_low),
            ("ratio_high", told.ratio_high),
            ("seconds", told.seconds_per_unit),
        ):
            if value is not None:
                yield f"{stem}_{name}_{per}", _number(value)
    if told.watts is not None:
        yield f"{stem}_watts", _number(told.watts)
    for name, seconds in told.latencies.items():
        yield f"{stem}_latency_{name}_seconds", _number(seconds)
    if told.sku:
        yield "energy_sku", told.sku
    if told.devices:
        yield "energy_device", ", ".join(dict.fromkeys(told.devices))
    if told.simulated:
        yield "energy_simulated", "true"


def _origin(run: RunResult) -> Iterator[tuple[str, str]]:
    yield "pytest_joules_version", run.version
    if run.commit:
        yield "commit", run.commit
    if run.meter:
        yield "meter", run.meter.description
        yield "devices", terminal.device_label(run.meter.devices)


def _add_properties(parent: ET.Element, named: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> None:
    if listed := list(named):
        element = ET.SubElement(parent, "properties")
        for name, value in listed:
            ET.SubElement(element, "property", name=xml(name), value=xml(value))


def _number(value: float) -> str:
    return f"{value:.6g}"


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return visible(text) == text
