"""Entry point of the plugin: options, marker, fixture.

Importing this loads nothing outside the standard library and pytest; all that
measures is loaded by :mod:`pytest_joules.gate`, and only under ``--energy``.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest

from pytest_joules.fixture import Energy
from pytest_joules.markers import SIGNATURE, SWEEP_SIGNATURE, check_markers
from pytest_joules.options import SETTINGS, OptionError, Options, in_ci, misread_flag

if TYPE_CHECKING:
    from pytest_joules.gate import Gate

GATE, SWEEPER = "pytest-joules-gate", "pytest-joules-sweeper"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("energy", "GPU energy budgets (pytest-joules)")
    group.addoption("--energy", action="store_true", dest="energy", help="measure GPU joules and judge energy budgets")
    group.addoption(
        "--energy-update",
        action="store_true",
        dest="energy_update",
        help="store what is measured: add a session where it agrees with the baseline, start afresh where it does not",
    )
    group.addoption(
        "--energy-update-new",
        action="store_true",
        dest="energy_update_new",
        help="store what is measured only for budgets without a baseline; judge the others",
    )
    group.addoption(
        "--energy-update-in-ci",
        action="store_true",
        dest="energy_update_in_ci",
        help="let an update write although the environment variable CI is set",
    )
    group.addoption(
        "--energy-anchor",
        metavar="SINCE",
        dest="energy_anchor",
        help="with --energy-update: pin the stored sessions as the anchor that slow creep is measured from, in place "
        "of pins from before SINCE (UTC, ISO 8601); pytest-joules record --anchor gives it",
    )
    group.addoption(
        "--energy-only",
        action="store_true",
        dest="energy_only",
        help="run only tests that carry an energy budget or sweep",
    )
    group.addoption("--energy-json", metavar="FILE", dest="energy_json", help="write the report as JSON to FILE")
    group.addoption(
        "--energy-html",
        metavar="FILE",
        dest="energy_html",
        help="write the report to FILE as one HTML page that needs nothing else (pip install 'pytest-joules[html]')",
    )
    group.addoption(
        "--energy-trace",
        metavar="DIR",
        dest="energy_trace",
        help="save raw counter reads, call times and signals in DIR, for --energy-meter replay:FILE",
    )
    for setting in SETTINGS:
        text = setting.help.replace("%", "%%")
        if setting.metavar is None:
            group.addoption(setting.flag, action="store_true", default=None, dest=setting.dest, help=text)
        else:
            group.addoption(setting.flag, default=None, dest=setting.dest, metavar=setting.metavar, help=text)
        parser.addini(setting.dest, help=f"ini twin of {setting.flag}", default=None)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    from pytest_joules import hookspec

    pluginmanager.add_hookspecs(hookspec)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", SIGNATURE)
    config.addinivalue_line("markers", SWEEP_SIGNATURE)
    try:
        options = Options.resolve(
            flag=lambda dest: config.getoption(dest),
            ini=lambda name: str(config.getini(name) or ""),
            root=config.rootpath,
            ci=in_ci(os.environ),
            addopts=config.getini("addopts"),
        )
    except OptionError as error:
        raise pytest.UsageError(str(error)) from error
    misread = misread_flag(config.invocation_params.args) if options.enabled and config.inipath is None else None
    if misread and config.rootpath != config.invocation_params.dir:
        raise pytest.UsageError(
            f"{misread}: pytest took this path for a test's, and {config.rootpath} for the root of all tests; "
            f"write {misread.replace(' ', '=', 1)}"
        )
    if options.enabled and not config.option.collectonly:
        from pytest_joules.xdist import make_gate

        gate = make_gate(config, options)
        config.pluginmanager.register(gate, GATE)
        config.pluginmanager.register(gate.sweeper, SWEEPER)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return check_markers(collector, (yield))


@pytest.fixture
def energy(request: pytest.FixtureRequest) -> Energy:
    """Measure GPU joules: ``energy(fn, *args)``, ``energy.repeat(fn, ...)`` or ``with energy.window("name")``."""
    gate: Gate | None = request.config.pluginmanager.get_plugin(GATE)
    return Energy(None) if gate is None else gate.energy_for(request.node)
