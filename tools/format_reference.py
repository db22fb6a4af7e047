"""Writes the tables of docs/formats.md from the published schemas.

python tools/format_reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "formats.md"
BEGIN, END = "<!-- from {} by tools/format_reference.py -->", "<!-- end of {} -->"
HEAD = "| field | holds | |\n| --- | --- | --- |"


def page(text: str) -> str:
    """The page with every table as its schema has it.

    Raises:
        ValueError: if a table's end is missing.
    """
    for source in re.findall(re.escape(BEGIN).replace(r"\{\}", "(.+?)"), text):
        begin, end = BEGIN.format(source), END.format(source)
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{TARGET} has lost the line {end}")
        schema = json.loads((ROOT / source).read_text(encoding="utf-8"))
        text = f"{before}{begin}\n\n{tables(schema)}\n\n{end}{after}"
    return text


def tables(schema: Mapping[str, Any]) -> str:
    """One table for the whole file, and one for each of the objects that it names, by name."""
    parts = [_table(schema)]
    for name, definition in schema["$defs"].items():
        if "properties" in definition:
            parts.append(f"**{name}**: {definition.get('description', '')}\n\n{_table(definition)}")
    return "\n\n".join(parts)


def _table(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [HEAD]
    for name, field in schema["properties"].items():
        holds = _holds(field) if name in required else f"{_holds(field)}, optional"
        rows.append(f"| `{name}` | {holds} | {_cell(field.get('description', ''))} |")
    return "\n".join(rows)


def _holds(field: Mapping[str, Any]) -> str:
    """What a field holds, in a few words."""
    return " or ".join(dict.fromkeys(_kinds(field))) or "anything"


def _kinds(field: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        yield "a number above zero" if name == "positive" else name
    elif "const" in field:
        yield f"`{json.dumps(field['const'])}`"
    elif "enum" in field:
        yield ", ".join(f"`{value}`" for value in field["enum"])
    elif "anyOf" in field:
        for choice in field["anyOf"]:
            yield from _kinds(choice)
    elif field.get("type") == "array":
        yield f"list of {_holds(field.get('items', {}))}"
    elif field.get("type") == "object":
        yield f"by name: {_holds(field.get('additionalProperties', {}))}"
    else:
        kinds = field.get("type", [])
        yield from [kinds] if isinstance(kinds, str) else kinds


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(TARGET.read_text(encoding="utf-8")), encoding="utf-8")
