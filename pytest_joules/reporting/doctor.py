"""What the doctor found, as a table."""

from __future__ import annotations

from pytest_joules.doctor import DoctorReport, Examination, Health
from pytest_joules.reporting.tables import table
from pytest_joules.reporting.terminal import device_label

HEADERS = ("check", "verdict", "finding")


def doctor_table(report: DoctorReport) -> str:
    """A heading and a table a device, what to do, and a line that counts every check."""
    parts = [_examination(examination) for examination in report.examinations]
    counts = [
        f"{sum(examination.count(health) for examination in report.examinations)} {health.value}" for health in Health
    ]
    return "\n\n".join([*parts, f"doctor: {', '.join(counts)}"])


def _examination(examination: Examination) -> str:
    device = examination.device
    driver = f", driver {device.driver}" if device.driver else ""
    rows = [(finding.check, finding.health.value, finding.text) for finding in examination.findings]
    fixes = [f"{finding.check}: {finding.fix}" for finding in examination.findings if finding.fix]
    lines = [
        f"GPU {device.index}: {device_label((device,))}{driver}",
        *table(HEADERS, rows),
    ]
    return "\n".join([*lines, *(["what to do:"] if fixes else []), *(f"  {fix}" for fix in fixes)])
