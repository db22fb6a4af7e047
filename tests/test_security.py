"""What a hostile pull request cannot do, as docs/security.md has it; git is in test_vcs.py, terms in test_review.py."""

from __future__ import annotations

import errno
import getpass
import gzip
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest
from conftest import PRODUCT, SKU, Suite

from pytest_joules.baselines.store import Addition, BaselineError, BaselineStore, schema
from pytest_joules.files import misplaced, write_whole
from pytest_joules.model import BaselineKey, Block, Session
from pytest_joules.workloads.settings import fits

KEY = BaselineKey("test_it.py::test_step", "main", "token")
SESSION = Session("2026-11-21T00:00:00+00:00", ("abc",), (Block(50.0, 100.0, 0.5),))

NO_NETWORK = """
    import os, sys

    def refuse(event, arguments):
        '''Ends the process that asks for a name, or for a peer beyond this machine's own files.'''
        calls = event in ("socket.connect", "socket.sendto", "socket.bind")
        if calls and not isinstance(arguments[1], (str, bytes)) or event.startswith("socket.get"):
            with open(os.environ["REACHED"], "a") as file:
                file.write(f"{event} {arguments[1:]}\\n")
            os._exit(99)

    sys.addaudithook(refuse)
"""

HOSTILE = """
    NAMES = ["../../../escaped", "/tmp/escaped", "..", "\\u202e@all\\n::error::<script>]]>|`${{ x }}`|"]

    @pytest.mark.energy_budget(key="../../../escaped", tolerance="20%")
    @pytest.mark.parametrize("name", NAMES[:1])
    def test_key(energy, name):
        energy.repeat(step, work=tokens, rounds=60, warmup=1, max_seconds=1)

    @pytest.mark.parametrize("name", NAMES, ids=NAMES)
    @pytest.mark.energy_budget(window="../w", tolerance="20%")
    def test_step(energy, name):
        with energy.window("../w") as window:
            step()
            window.count(token=64)
        energy.extra_info["where"] = name
"""


def test_a_run_reaches_no_network_names_no_person_and_makes_no_stray_file(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    suite.write(NO_NETWORK, "sitecustomize.py", prelude="")
    suite.write(HOSTILE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(suite.path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("REACHED", str(outside / "reached"))
    monkeypatch.setenv("API_TOKEN", "hunter2hunter2")
    monkeypatch.setenv("HOME", str(outside))
    before = {*suite.path.parent.rglob("*")} | {*Path("/tmp").glob("escaped*")}
    # pytest-rerunfailures opens a port of its own.
    monkeypatch.setenv("CI", "true")
    outputs = (
        "--energy-update-in-ci",
        "-p",
        "no:rerunfailures",
        "--energy-json=report.json",
        "--energy-trace=traces",
        "--junitxml=junit.xml",
    )
    ran = suite.run("--energy-update", *outputs)
    assert not (outside / "reached").exists(), (outside / "reached").read_text()
    ran.assert_outcomes(passed=5)
    after = {*suite.path.parent.rglob("*")} | {*Path("/tmp").glob("escaped*")}
    made = {os.path.relpath(path, suite.path) for path in after - before}
    made = {name for name in made if not name.startswith(("runpytest-", "__pycache__", "std"))}
    (trace,) = [name for name in made if name.startswith("traces/")]
    assert made == {"baselines", f"baselines/{SKU}.json", "report.json", "junit.xml", "traces", trace}
    assert not {*outside.rglob("escaped*")}
    texts = [path.read_text() for path in (suite.store.path(SKU), suite.path / "report.json")]
    texts += [gzip.decompress(path.read_bytes()).decode() for path in (suite.path / "traces").iterdir()]
    for text in texts:
        for private in (socket.gethostname(), f'"{getpass.getuser()}"', str(suite.path), str(Path.home()), "hunter2"):
            assert private not in text
    known = schema()["$defs"]["session"]["properties"]
    for windows in json.loads(texts[0])["entries"].values():
        for session in windows.get("main", windows.get("../w"))["token"]:
            assert {*session} <= {*known}
            assert all(fits(value) for value in session.get("configuration", {}).values())


def put_link(path: Path, elsewhere: Path) -> None:
    elsewhere.write_text("not yours")
    path.symlink_to(elsewhere)


def put_dangling_link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def put_pipe(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def put_directory(path: Path, elsewhere: Path) -> None:
    path.mkdir()


def put_socket(path: Path, elsewhere: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


@pytest.mark.parametrize("put", [put_link, put_dangling_link, put_pipe, put_directory, put_socket])
def test_what_is_no_regular_file_is_neither_read_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, put: object
) -> None:
    monkeypatch.chdir(tmp_path)
    store = BaselineStore(tmp_path / "baselines")
    store.directory.mkdir()
    elsewhere = tmp_path / "elsewhere"
    assert callable(put)
    put(store.path(SKU), elsewhere)
    there = sorted(tmp_path.rglob("*"))
    before = store.path(SKU).lstat()
    for attempt in (
        lambda: store.load(SKU),
        lambda: store.update(SKU, PRODUCT, True, {KEY: Addition(SESSION)}),
        lambda: store.rename(SKU, KEY.test, "other"),
    ):
        with pytest.raises(BaselineError, match="not a regular file"):
            attempt()
    assert sorted(tmp_path.rglob("*")) == there
    assert store.path(SKU).lstat() == before
    assert not elsewhere.exists() or elsewhere.read_text() == "not yours"


def test_a_device_is_not_read(tmp_path: Path) -> None:
    """As root one could make one; a link to one is refused as any link is."""
    store = BaselineStore(tmp_path)
    store.path(SKU).symlink_to("/dev/zero")
    with pytest.raises(BaselineError, match="not a regular file"):
        store.load(SKU)


def test_a_file_in_the_directorys_place_is_named(tmp_path: Path) -> None:
    store = BaselineStore(tmp_path / "baselines")
    store.directory.write_text("")
    for attempt in (lambda: store.load(SKU), lambda: store.update(SKU, PRODUCT, True, {KEY: Addition(SESSION)})):
        with pytest.raises(BaselineError, match="baselines"):
            attempt()


def test_a_directory_that_nobody_may_read_or_write_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, whom no mode keeps out."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", "/of/some/other/name")

    assert not misplaced(tmp_path / "report.json")
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        assert misplaced(tmp_path / "report.json") == "its directory cannot be written to"
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(OSError, match=r"Permission denied: '.*/report\.json'"):
        write_whole("{}", tmp_path / "report.json")
    with pytest.raises(BaselineError, match=f"^{tmp_path}: cannot be read: Permission denied$"):
        BaselineStore(tmp_path).skus()
    added = {KEY: Addition(Session("2026-05-01T12:00:00+00:00", ("abc",), (Block(1.0, 1.0, 1.0),)))}
    with pytest.raises(BaselineError, match=rf"{SKU}\.json: cannot be written: Permission denied$"):
        BaselineStore(tmp_path).update(SKU, PRODUCT, True, added)


def test_a_directory_that_its_owner_links_is_fine(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "baselines").symlink_to("shared")
    store = BaselineStore(tmp_path / "baselines")
    store.update(SKU, PRODUCT, True, {KEY: Addition(SESSION)})
    assert store.load(SKU).sessions(KEY) == (SESSION,)
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [f"{SKU}.json"]
