"""pytest-joules: GPU energy as a regression gate.

The public names are here; everything else is reached through the ``energy``
fixture, the ``energy_budget`` marker and the hooks of
:mod:`pytest_joules.hookspec`.  Nothing heavy is imported with this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_joules.fixture import Energy, Window

if TYPE_CHECKING:
    from pytest_joules.model import Block, Cause, Device, Diagnosis, Measurement, Verdict, VerdictKind

__all__ = [
    "Block",
    "Cause",
    "Device",
    "Diagnosis",
    "Energy",
    "Measurement",
    "Verdict",
    "VerdictKind",
    "Window",
]


def __getattr__(name: str) -> Any:
    # The plugin is imported by every pytest run, and making the value objects takes longer than all the rest of it.
    if name in __all__:
        from pytest_joules import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
