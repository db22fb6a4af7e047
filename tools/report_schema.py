"""Writes pytest_joules/reporting/schema.json from the value objects and their docstrings.

python tools/report_schema.py

The tables of docs/formats.md follow: ``tools/format_reference.py``.
"""

from __future__ import annotations

import inspect
import json
import re
import runpy
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pytest_joules.model import RunResult
from pytest_joules.reporting.json import SCHEMA_VERSION

TARGET = Path(__file__).parents[1] / "pytest_joules" / "reporting" / "schema.json"
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def report_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a :class:`RunResult` as ``codec.encode`` writes it."""
    definitions: dict[str, Any] = {}
    top = _object(RunResult, definitions)
    version = {"const": SCHEMA_VERSION, "description": "Version of this format."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://github.com/pytest-joules/pytest-joules/schemas/report-{SCHEMA_VERSION}.json",
        "title": "pytest-joules report",
        "description": top["description"],
        "type": "object",
        "additionalProperties": False,
        "required": ["schema", *top["required"]],
        "properties": {"schema": version, **top["properties"]},
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    told = _attributes(kind)
    properties = {}
    for name in (field.name for field in fields(kind)):
        properties[name] = _schema(hints[name], definitions)
        if name in told:
            properties[name] = {**properties[name], "description": told[name]}
    return {
        "description": _plain((inspect.getdoc(kind) or "").split("\n\n")[0]),
        "type": "object",
        "additionalProperties": False,
        # Everything is written, but a report of before a field was there still fits.
        "required": [field.name for field in fields(kind) if not _has_default(field)],
        "properties": properties,
    }


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if origin in (typing.Union, types.UnionType):
        (inner,) = (argument for argument in arguments if argument is not type(None))
        found = _schema(inner, definitions)
        if set(found) == {"type"}:
            return {"type": [found["type"], "null"]}
        return {"anyOf": [found, {"type": "null"}]}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if is_dataclass(kind) and isinstance(kind, type):
        if kind.__name__ not in definitions:
            definitions[kind.__name__] = {}
            definitions[kind.__name__] = _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    return {"type": SCALARS[kind]}


def _attributes(kind: Any) -> dict[str, str]:
    """The docstring's ``Attributes:`` section, by name."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {name: _plain(text) for name, text in found}


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "")


if __name__ == "__main__":
    TARGET.write_text(json.dumps(report_schema(), indent=2) + "\n")
    runpy.run_path(str(Path(__file__).with_name("format_reference.py")), run_name="__main__")
