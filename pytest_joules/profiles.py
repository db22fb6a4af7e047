"""What ``pytest-joules doctor`` found out about a device's power sensor, kept for later runs.

One small JSON file a device, below the user's cache directory.  Reading treats
it as hostile: a file that cannot be used is passed over with a sentence that
says so, since a run measures without one, too.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pytest_joules.codec import CodecError, decode, encode
from pytest_joules.files import write_whole
from pytest_joules.model import Device

LARGEST_FILE = 64 * 1024
"""Bytes; a profile has two hundred."""

LEAST_DUTY = 0.05
"""The smallest share that is told apart from noise; less would make a block last for minutes."""

_IDENTITY = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class SensorProfile:
    """What is known of one device's power sensor.

    Attributes:
        identity: A short hash of the device's UUID.
        driver: The driver's version; another one may read the sensor in another way.
        period_seconds: Seconds between two ticks of the energy counter.
        sensor_duty: Share of the time that the sensor looks, 1 for a full-time one; ``None`` if it was not found out.
        checked: UTC time, ISO 8601 to the second.
    """

    identity: str
    driver: str | None
    period_seconds: float
    sensor_duty: float | None
    checked: str


class ProfileError(Exception):
    """A profile that cannot be used or kept; the message names the file."""


class Profiles:
    """The directory of profiles."""

    def __init__(self, directory: Path | None) -> None:
        """``None`` where there is no place for one; then none is found."""
        self._directory = directory

    @classmethod
    def at(cls, environment: Mapping[str, str]) -> Profiles:
        """Those below ``XDG_CACHE_HOME`` if it is an absolute path, else below ``~/.cache``."""
        cache = Path(environment.get("XDG_CACHE_HOME", ""))
        if not cache.is_absolute():  # The XDG specification: relative paths are to be ignored.
            try:
                cache = Path.home() / ".cache"
            except RuntimeError:
                return cls(None)
        return cls(cache / "pytest-joules")

    def load(self, device: Device) -> tuple[SensorProfile | None, str]:
        """The profile of ``device``, and why there is none although there is a file; empty if there is no such file."""
        path = self._path(device.identity)
        if path is None:
            return None, ""
        try:
            profile = _read(path)
            if profile.identity != device.identity:
                raise ProfileError("it belongs to another device")
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError, RecursionError, OverflowError, ProfileError) as error:
            because = str(error).partition("\n")[0][:200]
            return None, f"ignored {path}: {because}; run pytest-joules doctor to replace it"
        if profile.driver != device.driver:
            return (
                None,
                f"ignored {path}: found with driver {str(profile.driver)[:40]!r}; run pytest-joules doctor again",
            )
        return profile, ""

    def save(self, profile: SensorProfile) -> Path:
        """Keep a profile, whole or not at all; returns its file.

        Raises:
            ProfileError: if it cannot be written.
        """
        path = self._path(profile.identity)
        if path is None:
            raise ProfileError("there is no home directory to keep the sensor's profile in: set XDG_CACHE_HOME")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(json.dumps(encode(profile), indent=1, allow_nan=False) + "\n", path)
        except OSError as error:
            raise ProfileError(f"{path}: the sensor's profile cannot be kept: {error.strerror}") from error
        return path

    def _path(self, identity: str) -> Path | None:
        # Other sources than NVML have identities of another kind, and no profile.
        if self._directory is None or not _IDENTITY.fullmatch(identity):
            return None
        return self._directory / f"{identity}.json"


def _read(path: Path) -> SensorProfile:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise ProfileError("it is not a regular file")
    if status.st_size > LARGEST_FILE:
        raise ProfileError(f"{status.st_size} bytes are too many for a profile")
    with path.open("rb") as file:
        data = json.loads(file.read(LARGEST_FILE).decode("utf-8"), parse_constant=_refuse)
    try:
        profile = decode(SensorProfile, data)
    except CodecError as error:
        raise ProfileError(str(error)) from error
    duty = profile.sensor_duty
    if duty is not None and not LEAST_DUTY <= duty <= 1:
        raise ProfileError(f"a sensor_duty of {duty:g} is not between {LEAST_DUTY:g} and 1")
    return profile


def _refuse(literal: str) -> NoReturn:
    raise ProfileError(f"it holds the number {literal}")
