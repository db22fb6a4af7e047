"""Writes the table of docs/diagnosis.md from the rules.

python tools/diagnosis_table.py
"""

from __future__ import annotations

from pathlib import Path

from pytest_joules.diagnosis.quantities import QUANTITIES
from pytest_joules.diagnosis.rules import RULES, Rule, Sign, Way
from pytest_joules.facts import FACTS
from pytest_joules.units import format_percent

TARGET = Path(__file__).parents[1] / "docs" / "diagnosis.md"
BEGIN, END = "<!-- from pytest_joules/diagnosis/rules.py by tools/diagnosis_table.py -->", "<!-- end of the table -->"
HEAD = ("rule", "mechanism, where joules rise", "signature", "what to do", "size to expect", "source")

WAYS = {
    Way.UP: "*{}* ↑",
    Way.DOWN: "*{}* ↓",
    Way.LEVEL: "*{}* level",
    Way.NOT_UP: "*{}* not ↑",
    Way.NOT_DOWN: "*{}* not ↓",
    Way.HIGH: "*{}* high",
}

TEXTS = {
    "compute_cycles": "cycles of the pipes that do the arithmetic",
    **{quantity.name: quantity.text for quantity in QUANTITIES.values()},
    **{fact.name: fact.text for fact in FACTS},
}


def table() -> str:
    """The rules in their order, one row each, with an anchor by the rule's name."""
    rows = [HEAD, ("---",) * len(HEAD), *(_row(rule) for rule in RULES)]
    return "\n".join(f"| {' | '.join(_cell(text) for text in row)} |" for row in rows)


def page(text: str) -> str:
    """The page with the table as it should be.

    Raises:
        ValueError: if the page has no place for it.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{TARGET} has lost the lines around its table")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _row(rule: Rule) -> tuple[str, ...]:
    name = f'<a id="{rule.name}"></a>**{rule.name}**'
    return (name, rule.rise, _signature(rule), rule.advice, rule.expect, rule.source or "none")


def _signature(rule: Rule) -> str:
    """The ways in which a rule is recognised, any of which will do."""
    ways = []
    if rule.facts:
        ways.append(f"work differs: {', '.join(TEXTS[name] for name in rule.facts)}")
    if rule.signs:
        ways.append(f"seen: {', '.join(_signs(group) for group in rule.signs)}")
    if rule.settings:
        ways.append(f"a setting differs: {', '.join(f'`{name}`' for name in rule.settings)}")
    return "<br>or ".join(ways) or "it differs, and no other rule knows it"


def _signs(alternatives: tuple[Sign, ...]) -> str:
    text = " or ".join(_sign(sign) for sign in alternatives)
    return f"({text})" if len(alternatives) > 1 else text


def _sign(sign: Sign) -> str:
    text = WAYS[sign.way].format(TEXTS[sign.quantity])
    return f"{text} (at least {format_percent(sign.least, digits=0)})" if sign.way is Way.HIGH and sign.least else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
