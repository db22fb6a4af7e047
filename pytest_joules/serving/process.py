"""The process behind a server's URL: found by its port, watched for its end."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

import psutil

from pytest_joules.serving.requirements import ServerError

Pid = int | subprocess.Popen[bytes] | subprocess.Popen[str]


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """The process whose tree serves.

    Attributes:
        pid: The tree's root; ``None`` if it could not be found.
        popen: What started it, if the test did.
    """

    pid: int | None
    popen: subprocess.Popen[bytes] | subprocess.Popen[str] | None = None

    @classmethod
    def of(cls, pid: Pid | None) -> ServerProcess:
        """The process that the test names, if it names one.

        Raises:
            ServerError: for one that this test runs below.
        """
        if isinstance(pid, subprocess.Popen):
            return cls(pid.pid, pid)
        if pid in {parent.pid for parent in psutil.Process().parents()}:
            raise ServerError(f"pid={pid} is a parent of this test, and its GPUs those of everything below it, too")
        return cls(pid)

    @classmethod
    def listening(cls, url: str) -> ServerProcess:
        """The process that listens where ``url`` points; unknown if the system hides it from this user."""
        port = port_of(url)
        try:
            found = psutil.net_connections("tcp")
        except psutil.AccessDenied:  # macOS shows other processes' sockets to root only
            return cls(None)
        listening = [c for c in found if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port]
        # Others may listen at this port of other addresses.
        addresses = [*_addresses(url), "0.0.0.0", "::"]
        by_address = {c.laddr.ip: c.pid for c in listening if c.laddr}
        pid = next((by_address[address] for address in addresses if address in by_address), None)
        return cls(None if pid is None else _served_by(pid))

    @property
    def roots(self) -> tuple[int, ...]:
        """The process to charge, as :func:`pytest_joules.attribution.attribute` wants it."""
        return () if self.pid is None else (self.pid,)

    def death(self) -> str:
        """How the process ended; empty while it lives, and if it is unknown."""
        if self.popen is not None:
            code = self.popen.poll()
            return "" if code is None else f"the server, process {self.pid}, {_ended(code)}"
        if self.pid is None or _lives(self.pid):
            return ""
        return f"the server, process {self.pid}, has ended"

    def arguments(self) -> list[str]:
        """Its command line, as far as it can be seen."""
        if self.popen is not None and isinstance(self.popen.args, (list, tuple)):
            return [str(argument) for argument in self.popen.args]
        try:
            return [] if self.pid is None else psutil.Process(self.pid).cmdline()
        except psutil.Error:
            return []


def port_of(url: str) -> int:
    """The port that ``url`` points to."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def is_local(url: str) -> bool:
    """Whether ``url`` points to this machine: only its GPUs can be measured here."""
    own = {address.address for found in psutil.net_if_addrs().values() for address in found}
    return any(address in own or _loops_back(address) for address in _addresses(url))


def _addresses(url: str) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(urlsplit(url).hostname, None)}
    except OSError:
        return set()


def _loops_back(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return ip.is_loopback or ip.is_unspecified


def _served_by(listener: int) -> int:
    """The root of the tree that serves: the process that listens, or its parents that were told to ``serve``.

    ``vllm serve --api-server-count 2`` listens in children whose siblings compute.
    """
    try:
        process = psutil.Process(listener)
        ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        for parent in process.parents():
            if parent.pid in ours or "serve" not in parent.cmdline():
                break
            process = parent
        return process.pid
    except psutil.Error:
        return listener


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


def _ended(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
