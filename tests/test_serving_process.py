"""Whose process a server is."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from pytest_joules.serving import requirements
from pytest_joules.serving.process import ServerProcess, is_local

LISTEN = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); time.sleep(60)"
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs ``code``, once it, or its child, listens."""
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(("arguments", "charged"), [(("serve", "model"), "parent"), (("other",), "listener")])
def test_what_listens_is_found_and_the_parent_that_serves(port: int, arguments: tuple[str, ...], charged: str) -> None:
    with running(PARENT.format(child=LISTEN.format(port=port)), *arguments) as parent:
        (listener,) = psutil.Process(parent.pid).children()
        found = ServerProcess.listening(f"http://localhost:{port}")
        assert found.pid == {"parent": parent.pid, "listener": listener.pid}[charged]
        assert found.roots == (found.pid,)
        assert "-c" in found.arguments()


def test_of_two_at_one_port_the_one_at_the_address_is_found(port: int) -> None:
    code = LISTEN.replace("'127.0.0.1'", "sys.argv[1]").replace("import", "import sys,", 1)
    with running(code.format(port=port), "127.0.0.2") as other, running(code.format(port=port), "127.0.0.1") as own:
        assert ServerProcess.listening(f"http://127.0.0.1:{port}").pid == own.pid
        assert ServerProcess.listening(f"http://127.0.0.2:{port}").pid == other.pid
        assert ServerProcess.listening(f"http://127.0.0.3:{port}").pid is None


def test_where_nothing_listens(port: int) -> None:
    found = ServerProcess.listening(f"http://localhost:{port}")
    assert (found.pid, found.roots, found.death(), found.arguments()) == (None, (), "", [])


def test_the_end_of_a_process_is_told(port: int) -> None:
    with running(LISTEN.format(port=port)) as process:
        of_popen, of_pid = ServerProcess.of(process), ServerProcess.of(process.pid)
        assert of_popen.death() == of_pid.death() == ""
        process.kill()
        while not of_pid.death():
            pass
        assert of_pid.death() == f"the server, process {process.pid}, has ended"
        process.wait()
        assert of_popen.death() == f"the server, process {process.pid}, was killed by signal 9"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0", socket.gethostname()])
def test_this_machine(host: str) -> None:
    assert is_local(f"http://{host}:8000")


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_another_machine(host: str) -> None:
    assert not is_local(f"http://{host}:8000")


def test_a_missing_library_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client.parser", None)
    with pytest.raises(requirements.ServerError, match=r"pip install 'pytest-joules\[server\]'"):
        requirements.prometheus_parser()
