"""Escapers: whatever a name holds, its reader gets text."""

from __future__ import annotations

import csv
import html
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from markdown_it import MarkdownIt
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from runs import HOSTILE, texts

from pytest_joules.reporting import escape

fixed = pytest.mark.parametrize("text", HOSTILE, ids=[f"hostile{number}" for number in range(len(HOSTILE))])


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        """Parses at once."""
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(text: str) -> Tags:
    return Tags(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))


def github_commands(output: str) -> list[tuple[str, dict[str, str], str]]:
    """What a runner makes of a log, by the rules of its ``ActionCommand``."""
    found = []
    for line in re.split(r"\r\n|\r|\n", output):
        stripped = line.lstrip()
        if stripped.startswith("::") and "::" in stripped[2:]:
            head, _, data = stripped[2:].partition("::")
            name, _, listed = head.partition(" ")
            pairs = (pair.partition("=") for pair in listed.split(",") if pair)
            values = {
                key: _unescaped(value, {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ","}) for key, _, value in pairs
            }
            found.append((name, values, _unescaped(data, {"%0D": "\r", "%0A": "\n"})))
        elif "##[" in line and "]" in line.partition("##[")[2]:
            found.append((line.partition("##[")[2].partition("]")[0], {}, ""))
    return found


def _unescaped(text: str, mapping: dict[str, str]) -> str:
    for escaped, character in mapping.items():
        text = text.replace(escaped, character)
    return text.replace("%25", "%")


def check_visible(text: str) -> None:
    shown = escape.visible(text)
    assert shown.isprintable()
    assert shown == text or not (text.isprintable() and text.isascii())
    assert not re.search("[\u034f\u115f\u2800\u3164\ufe0f\uffa0\U000e0101]", shown)
    shown.encode()


def check_github(text: str) -> None:
    line = f"::error file={escape.github_property(text)},title=t::{escape.github_data([text, text])}"
    ((name, values, message),) = github_commands(line)
    assert name == "error"
    assert values.get("file", "") == escape.visible(text)
    assert message == "\n".join([escape.visible(text)] * 2)
    assert set(values) <= {"file", "title"}


def check_log(text: str) -> None:
    assert github_commands(escape.log(text)) == []
    assert len(escape.log(text).splitlines()) <= 1


def check_markdown(text: str) -> None:
    shown = escape.short(escape.visible(text))
    page = rendered(f"| a | b |\n|:--|:--|\n| {escape.markdown_code(text)} | {escape.markdown(text)} |\n| x | y |")
    assert set(page.tags) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert page.tags.count("td") == 4
    assert page.tags.count("code") == 1
    squeezed = "".join(page.text.split())
    assert "".join(shown.split()) in squeezed
    prose = rendered(escape.markdown(text))
    assert set(prose.tags) <= {"p"}
    assert prose.text.replace("\u2060", "").strip() == escape.visible(text).strip()


def check_mentions(text: str) -> None:
    assert not re.search(r"[@#!]\w|://|(?i:\bwww)\.|(?i:\bGH)-\d", rendered(escape.markdown(text)).text)
    assert not escape.markdown(text).startswith("/")


def check_block(text: str) -> None:
    page = rendered(f"{escape.markdown_block([text, text])}\n\nbehind")
    assert page.tags == ["pre", "code", "p"]
    shown = escape.visible(text)
    line = f" {shown}" if shown.startswith("/") else shown
    assert page.text == f"{line}\n{line}\n\nbehind\n"


def check_html(text: str) -> None:
    page = Tags(f'<p title="{escape.html(text)}">{escape.html(text)}</p>')
    assert page.tags == ["p"]
    assert page.text == escape.visible(text, keep="\n")
    assert html.unescape(escape.html(text)) == page.text


def check_xml(text: str) -> None:
    element = ET.Element("a", b=escape.xml(text))
    element.text = escape.xml(text)
    parsed = ET.fromstring(ET.tostring(element, encoding="unicode").encode())
    assert (parsed.text or "") == escape.visible(text, keep="\n")
    assert parsed.get("b") == escape.visible(text, keep="\n")


def check_openmetrics(text: str) -> None:
    line = f'# TYPE a gauge\na{{b="{escape.openmetrics(text)}"}} 1.0\n# EOF\n'
    parsed = text_string_to_metric_families(line)  # type: ignore[no-untyped-call]
    ((sample,),) = [family.samples for family in parsed]
    assert sample.labels["b"] == escape.visible(text, keep="\n").replace("#", r"\x23")
    assert "#" not in line.splitlines()[1]


def check_csv(text: str) -> None:
    written = io.StringIO()
    csv.writer(written).writerow([escape.csv(text), "next"])
    ((cell, following),) = csv.reader(io.StringIO(written.getvalue()))
    assert following == "next"
    assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝"))
    assert cell.removeprefix("'") == escape.visible(text).removeprefix("'")


CHECKS = (
    check_visible,
    check_github,
    check_log,
    check_markdown,
    check_mentions,
    check_block,
    check_html,
    check_xml,
    check_openmetrics,
    check_csv,
)


@pytest.mark.parametrize("check", CHECKS)
@fixed
def test_known_texts(check, text: str) -> None:  # type: ignore[no-untyped-def]
    check(text)


@pytest.mark.parametrize("check", CHECKS)
def test_any_text(check) -> None:  # type: ignore[no-untyped-def]
    given(texts)(check)()


def test_what_looks_alike_is_told_apart() -> None:
    assert escape.visible("test_a\u3164") == r"test_a\u3164"
    assert escape.visible("naïve 日本語 🔥") == "naïve 日本語 🔥"


def test_what_is_usual_reads_as_it_is() -> None:
    assert escape.markdown_code("tests/test_a.py::test_b[8-fp16]") == "`tests/test_a.py::test_b[8-fp16]`"
    prose = "NVIDIA H200, 0.1.0: joules per prompt_token rose by 30.6%, more than 1.5% (2026-05-01T12:00:00+00:00)"
    assert escape.markdown(prose) == prose
    assert escape.csv("tests/test_a.py::test_b") == "tests/test_a.py::test_b"


def test_shortened_names_stay_apart() -> None:
    one, other = "x" * 2000 + "1", "x" * 2000 + "2"
    assert len(escape.short(one)) == escape.LONGEST_NAME
    assert escape.unique("abc", 64) == "abc"
    assert len(escape.unique(one, 64)) == 64
    assert escape.unique(one, 64) != escape.unique(other, 64)
    assert escape.unique("\ud800" * 100, 64).startswith("\ud800")
