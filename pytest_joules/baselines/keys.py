"""Which baseline file a measurement belongs to."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from pytest_joules.model import LIMIT_WATTS, Device

LONGEST_SLUG = 60


def slug(name: str) -> str:
    """A product's name as a file name: ``NVIDIA H100 80GB HBM3`` is ``nvidia-h100-80gb-hbm3``."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_SLUG].strip("-")
    return cleaned or "unnamed"


def sku_key(devices: Sequence[Device]) -> str:
    """The name of the baseline file for joules summed over ``devices``.

    The slug of the SKU; with ``+450w`` where the power limit is not the
    board's own, ``+module`` where the driver counts more than the GPU, ``+x2``
    for two of them.  Simulated devices begin with ``simulated-``.

    Raises:
        ValueError: for no device, or simulated and real ones together.
    """
    if not devices:
        raise ValueError("no device to name a baseline for")
    if len({device.simulated for device in devices}) > 1:
        raise ValueError("simulated and real devices cannot be measured together")
    counted = Counter(_one(device) for device in devices)
    names = [f"{name}+x{count}" if count > 1 else name for name, count in sorted(counted.items())]
    return ("simulated-" if devices[0].simulated else "") + "+and+".join(names)


def sku_keys(devices: Sequence[Device]) -> tuple[str, ...]:
    """The names of all baseline files for joules that can be summed over ``devices``, or some of them."""
    kinds: dict[str, list[Device]] = {}
    for device in devices:
        kinds.setdefault(_one(device), []).append(device)
    chosen = itertools.product(*([kind[:count] for count in range(len(kind) + 1)] for kind in kinds.values()))
    some = [[device for kind in each for device in kind] for each in chosen]
    return tuple(dict.fromkeys(sku_key(each) for each in sorted(some, key=len) if each))


def power_limit(sku: str, devices: Sequence[Device] = ()) -> float | None:
    """The power limit (W) of all devices together that a file's name tells; ``None`` if it does not.

    A name without a limit means the board's own, which ``devices`` of the same name know.
    """
    own = {slug(device.name): device.default_power_limit_watts for device in devices}
    total = 0.0
    for part in sku.removeprefix("simulated-").split("+and+"):
        name, *marks = part.split("+")
        told = [float(found[1]) for mark in marks if (found := re.fullmatch(r"(\d+)w", mark))]
        limit = told[0] if told else own.get(name)
        if limit is None:
            return None
        total += limit * next((int(found[1]) for mark in marks if (found := re.fullmatch(r"x(\d+)", mark))), 1)
    return total


def _one(device: Device) -> str:
    limit, default = device.power_limit_watts, device.default_power_limit_watts
    limited = limit is not None and default is not None and abs(limit - default) > LIMIT_WATTS
    return (
        slug(device.name)
        + (f"+{limit:.0f}w" if limited else "")
        + (f"+{slug(device.scope)}" if device.scope != "gpu" else "")
    )
