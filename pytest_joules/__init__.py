"""pytest-joules: GPU energy as a regression gate.

The public names are here; everything else is reached through the ``energy``
fixture, the ``energy_budget`` marker and the hooks of
:mod:`pytest_joules.hookspec`.  Nothing heavy is imported with this package.
"""

from __future__ import annotations

from pytest_joules.fixture import Energy, Window
from pytest_joules.model import Block, Device, Measurement, Verdict, VerdictKind

__all__ = ["Block", "Device", "Energy", "Measurement", "Verdict", "VerdictKind", "Window"]
