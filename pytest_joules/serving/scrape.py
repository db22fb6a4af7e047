"""Reading a server's ``/metrics`` again and again, in a thread of the test's process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_joules.serving.names import DIALECTS
from pytest_joules.serving.requirements import httpx_module

if TYPE_CHECKING:
    import httpx

INTERVAL_SECONDS = 0.2
"""Between two requests: five in a block of a second, and rare enough to leave the server's front end alone."""

TIMEOUT_SECONDS = 5.0

_PREFIXES = tuple(name for dialect in DIALECTS for name in dialect.all_names())


@dataclass(frozen=True, slots=True)
class Scrape:
    """What ``/metrics`` said.

    Attributes:
        time: The middle of the request (s, on the meter's clock).
        text: Its lines that are about what is measured here.
        error: Why there is no text; empty if there is.
    """

    time: float
    text: str = ""
    error: str = ""


class Scraper:
    """Reads ``url`` every :data:`INTERVAL_SECONDS` until it is stopped.

    Lines are kept as text: they are parsed when nothing is measured any more.
    """

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        """The first read is done at once; ``now`` is the meter's clock."""
        # Uncompressed: packing would cost the server's front end more than it saves on one machine.
        headers = {"Accept-Encoding": "identity"}
        self._client: httpx.Client = httpx_module().Client(
            timeout=TIMEOUT_SECONDS, headers=headers, follow_redirects=True, trust_env=False
        )
        self._url = url
        self._now = now
        self._stopped = threading.Event()
        self._scrapes = [self._scrape()]
        self._thread = threading.Thread(target=self._run, name="pytest-joules-scrape", daemon=True)
        self._thread.start()

    @property
    def first(self) -> Scrape:
        """What was read when it began."""
        return self._scrapes[0]

    def stop(self) -> list[Scrape]:
        """Read once more and end; returns everything, oldest first."""
        self._stopped.set()
        self._thread.join()
        self._client.close()
        return self._scrapes

    def _run(self) -> None:
        while not self._stopped.wait(INTERVAL_SECONDS):
            self._scrapes.append(self._scrape())
        self._scrapes.append(self._scrape())
        # The last one tells whether the server still lives, and a single miss does not mean that it is dead.
        if self._scrapes[-1].error:
            self._scrapes.append(self._scrape())

    def _scrape(self) -> Scrape:
        start = self._now()
        try:
            response = self._client.get(self._url)
        except httpx_module().HTTPError as error:
            return Scrape(self._now(), error=f"{type(error).__name__}: {error}")
        middle = (start + self._now()) / 2
        if response.status_code != 200:
            return Scrape(middle, error=f"HTTP {response.status_code}")
        return Scrape(middle, "\n".join(line for line in response.text.splitlines() if line.startswith(_PREFIXES)))
