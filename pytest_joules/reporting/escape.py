"""One escaper for each language that a report is written in.

Names of tests, reasons and notes come from the code under test and from stored
files: nothing of them may act on who reads a report.  What the eye does not see
is spelled out everywhere (:func:`visible`); beyond that each language has its
own function, and a renderer uses no other.
"""

from __future__ import annotations

import hashlib
import html as stdlib_html
import re
from collections.abc import Iterable

LONGEST_NAME = 300
"""Characters of a name that are shown where people read; a parametrized id may have a hundred thousand."""

_PLAIN = re.compile(r"[\w ./:,=+()\[\]\-]*", re.ASCII)
"""What stands in a code span of any Markdown as it is, in a table, too."""

_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")

_MARKUP = re.compile(r"[\\`*{}\[\]<>#|~&@!$^]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^\s*[-+=/]|^\s*\d+[.)]")
"""What may mean something in the Markdown of GitHub or GitLab: at its place in a word, or at a line's start.

GitLab takes a comment's line that begins with ``/close`` for an order ("GitLab quick actions").
"""

_REFERENCES = re.compile(r"[@#!~%$&](?=\w)|:(?=//)|\bwww(?=\.)|\bGH(?=-\d)", re.IGNORECASE)
"""Where GitHub and GitLab would find somebody's name, an issue or an address in plain text."""

_JOIN = "\u2060"
"""Parts a sign from its word, and is not seen; none is in a text that was made visible."""

_COMMAND = re.compile(r"^( *)(?=::)|(##)(?=\w*\[)")

_ORDER = re.compile("^(?=/)")

_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Fillers, joiners and variation selectors: Unicode calls them letters, marks or symbols, and nobody sees them."""

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")


def visible(text: str, keep: str = "") -> str:
    r"""Spell out what cannot be seen or stored: controls, bidirectional marks, lone surrogates, odd spaces, fillers.

    ``keep`` names characters that stay, such as ``"\n"``.
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or c in keep else _spelled(c) for c in text)
    return text if text.isascii() else _BLANK.sub(lambda found: _spelled(found[0]), text)


def _spelled(character: str) -> str:
    known = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
    code = ord(character)
    return known.get(character) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    )


def short(text: str, longest: int = LONGEST_NAME) -> str:
    """At most ``longest`` characters; what is left out of the middle is marked."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def short_lines(lines: Iterable[str], longest: int) -> list[str]:
    """Lines of at most ``longest`` visible characters in all, but for the sign of what is left out."""
    kept: list[str] = []
    for line in map(visible, lines):
        kept.append(short(line, max(longest, 1)))
        longest -= len(line)
        if longest < 0:
            break
    return kept


def unique(text: str, longest: int) -> str:
    """At most ``longest`` characters that still tell two names apart: a shortened one ends with its hash."""
    if len(text) <= longest:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{text[: longest - 13]}-{digest}"


def identifier(text: str) -> str:
    """A name's part that every format takes: ASCII letters, digits and ``_``."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def log(text: str) -> str:
    """A line of a log, and never two: no name in it passes for a line of our own.

    A GitHub runner takes a line that begins with ``::``, and whatever follows ``##[``, for a command to itself;
    Azure Pipelines and TeamCity take ``##vso[`` and ``##teamcity[`` for one.
    """
    return _COMMAND.sub(r"\g<0>\\", visible(text))


def github_data(lines: Iterable[str]) -> str:
    """The message of a workflow command (GitHub: "Workflow commands for GitHub Actions")."""
    return "%0A".join(visible(line).replace("%", "%25") for line in lines)


def github_property(text: str) -> str:
    """The value of a property of a workflow command."""
    return visible(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")


def markdown_code(text: str) -> str:
    """A name in a line or table cell of GitHub's Markdown, in a fixed-width font; nobody is mentioned by it.

    Code spans cannot hold every text in a cell; what they cannot is HTML.
    """
    shown = short(visible(text))
    if _PLAIN.fullmatch(shown) and shown.strip():
        return f"`{shown}`"
    return f"<code>{_PUNCTUATION.sub(_entities, shown)}</code>"


def markdown(text: str) -> str:
    """Prose in a line or table cell: no markup, no mention, no link."""
    shown = _REFERENCES.sub(lambda found: found[0] + _JOIN, visible(text))
    return _MARKUP.sub(_entities, shown).replace(_JOIN, "&#8288;")


def markdown_block(lines: Iterable[str]) -> str:
    """Lines in a fixed-width font; the fence is longer than any in them, and no line of a comment is an order."""
    shown = "\n".join(_ORDER.sub(" ", visible(line)) for line in lines)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{fence}text\n{shown}\n{fence}"


def _entities(found: re.Match[str]) -> str:
    return "".join(f"&#{ord(character)};" for character in found[0])


def html(text: str) -> str:
    """Text or the quoted value of an attribute in HTML."""
    return stdlib_html.escape(visible(text, keep="\n"))


def xml(text: str) -> str:
    """Text as XML 1.0 can hold it; the markup in it is escaped by ``xml.etree``."""
    return visible(text, keep="\n")


def openmetrics(text: str) -> str:
    """The value of a label in OpenMetrics text.

    GitLab takes all that follows a ``#`` for a comment, in a label, too.
    """
    shown = visible(text, keep="\n").replace("#", r"\x23")
    return shown.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def csv(text: str) -> str:
    """A cell of text; a spreadsheet would take one that begins so for a formula (OWASP: "CSV Injection")."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
