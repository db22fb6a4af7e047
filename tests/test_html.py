"""The HTML page: complete in itself, harmless whatever a test is called, and usable in a real browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.util
import json
import re
import runpy
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import Suite

from pytest_joules.budget import EnergyBudget
from pytest_joules.files import write_whole
from pytest_joules.model import (
    BaselineKey,
    Block,
    BudgetResult,
    Cause,
    Conditions,
    Device,
    Diagnosis,
    History,
    Measurement,
    MeterInfo,
    Pass,
    PowerTrace,
    Price,
    Rates,
    RunResult,
    SignalChange,
    Split,
    Sweep,
    SweepPoint,
    Verdict,
    VerdictKind,
    WindowKind,
)
from pytest_joules.reporting import html
from pytest_joules.reporting import json as json_report
from pytest_joules.units import EnergyPerUnit

pytest.importorskip("jinja2", reason="the extra html is not installed")
pytest.importorskip("plotly", reason="the extra html is not installed")

GPU = Device(0, "NVIDIA H200", "5eb7272e105d", power_limit_watts=700.0, driver="580.1")
TRACE = PowerTrace(
    seconds=tuple(round(0.1 * n, 1) for n in range(1, 21)),
    watts=tuple(650.0 + n for n in range(20)),
    sm_clock_mhz=(1980.0, None, *(1965.0 + n for n in range(18))),
    temperature_celsius=(40.0,) * 20,
    block_seconds=(0.8, 1.3, 1.8),
)
HISTORY = History(
    recorded=("2026-10-01T10:00:00+00:00", "2026-10-02T10:00:00+00:00", "2026-10-03T10:00:00+00:00"),
    joules_per_unit=(0.1, 0.101, 0.0995),
    spread=(0.002, 0.003, 0.0),
    seconds_per_unit=(0.001, 0.001, 0.001),
    commits=("c0ffee123456", None, "</script><script>alert(1)</script>"),
    same_devices=(True, False, True),
    anchors=(True, False, False),
)
DIAGNOSIS = Diagnosis(
    change=0.3,
    noise=0.01,
    splits=(Split("watts and time", {"watts": -0.1, "seconds per unit": 0.4}),),
    causes=(
        Cause(
            "host-bound", "the GPU waits for the host", ("SM active: 93% -> 55%",), "CUDA graphs", "H200", 0.1, 0.3, 0.3
        ),
    ),
    missing=("DRAM active (needs GPM)",),
    signals=(SignalChange("sm_active", 0.93, 0.55), SignalChange("unheard_of", None, 3.0), SignalChange("dram_active")),
)

HOSTILE = (
    "test_it.py::test_a[<script>alert(1)</script>]",
    "test_it.py::test_a[\"'><img src=x onerror=alert(1)>]",
    "test_it.py::test_a[]]>--><!--</style></textarea>]",
    "test_it.py::test_a[${{ github.token }} {{ 7 * 7 }} {% raw %}]",
    "test_it.py::test_a[one\ntwo\r\nthree\u2028four]",
    "test_it.py::test_a[\u202eevil\u2066bidi\u200b]",
    "test_it.py::test_a[\ud800 \x00 \x1b[31m]",
    "../../etc/passwd::test_a[javascript:alert(1)]",
    f"test_it.py::test_a[{'x' * 100_000}]",
)


def result(
    test: str = "test_it.py::test_step",
    kind: VerdictKind = VerdictKind.PASS,
    *,
    window: WindowKind = WindowKind.REPEATED,
    trace: PowerTrace | None = TRACE,
    history: History | None = HISTORY,
    diagnosis: Diagnosis | None = None,
) -> BudgetResult:
    """A budget that was measured and judged."""
    blocks = {"token": (Block(50.0, 500.0, 0.5), Block(50.5, 500.0, 0.5)), "call": (Block(50.0, 5.0, 0.5),) * 2}
    verdict = Verdict(kind, f"because of {test}", 0.1005, 0.002, 0.1, 3, 2, False, 1.005, 0.99, 1.02, 0.005, 1.0, 0.03)
    conditions = Conditions(
        40.0, 1980.0, 0.1, 80.0, None, {"torch": "2.9"}, {"calls": 3.0}, {"dtype": test}, {"sm_active": 0.9}
    )
    measurement = Measurement(
        "main", window, (GPU,), blocks, 10.0, 0.8, conditions, (f"note of {test}",), {"ttft_p50": 0.02}, "", trace
    )
    budget = EnergyBudget(limit=EnergyPerUnit(0.2, "token"), tolerance=0.02)
    key = BaselineKey(test, "main", "token")
    return BudgetResult(
        test,
        budget,
        True,
        verdict,
        kind is VerdictKind.REGRESSED,
        key,
        "nvidia-h200",
        0.02,
        measurement,
        diagnosis,
        history,
    )


def bare(test: str, kind: VerdictKind) -> BudgetResult:
    """A budget without a number."""
    return BudgetResult(test, EnergyBudget(), True, Verdict(kind, "nothing was measured"))


def run_of(*results: BudgetResult, **known: Any) -> RunResult:
    meter = MeterInfo("Zeus", False, (GPU,))
    return RunResult("2026-11-21T10:00:00+00:00", "0.1.0", **{"meter": meter, "results": results, **known})


def of_every_kind() -> RunResult:
    """Every verdict and every kind of window, with and without what can be drawn."""
    results = [result(f"test_it.py::test_{kind.value.lower()}", kind) for kind in VerdictKind]
    results += [bare(f"test_it.py::test_bare_{kind.value.lower()}", kind) for kind in VerdictKind]
    results += [
        result("test_it.py::test_shot", window=WindowKind.ONE_SHOT),
        result("test_it.py::test_server", window=WindowKind.STEADY, history=None),
        result("test_it.py::test_old", trace=None, history=None),
        result("test_it.py::test_why", VerdictKind.REGRESSED, diagnosis=DIAGNOSIS),
        replace(
            result("test_it.py::test_failed_meter", VerdictKind.INVALID),
            key=None,
            history=None,
            measurement=Measurement("main", WindowKind.REPEATED, (GPU,), {}, 0.0, 0.0, Conditions(), invalid="lost"),
        ),
    ]
    return run_of(*results, commit="c0ffee", extra_info={"test_it.py::test_why": {"batch": 64, "</pre>": [1, "<b>"]}})


def swept(*names: str, group: str = "chat decode", source: str = "") -> Sweep:
    """A sweep in which more joules are less latency, but for the last point; the first is the default."""
    numbers = [(0.4 / 2**n, 0.005 * 2**n) for n in range(len(names) - 1)] + [(0.41, 0.02)]
    points = [
        SweepPoint(
            name,
            {"max_num_seqs": name},
            tuple(
                Pass(joules * way, 0.001, {"itl_p50": seconds}, 600.0) for way in ([1.0] if source else [0.99, 1.01])
            ),
            default=name == names[0] and not source,
            source=source,
        )
        for name, (joules, seconds) in zip(names, numbers, strict=True)
    ]
    failed = SweepPoint(
        "failed", {"max_num_seqs": "failed"}, points[0].passes, invalid="its test failed", source=source
    )
    return Sweep(group, "token", "itl_p50", (*points, failed))


SLO = "itl_p50 < 12 ms"
SIZES = ("8", "16", "32", "64")


class Page(HTMLParser):
    """What a parser sees of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]][-1] += data
        else:
            self.text.append(data)

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for t, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.inside["script"][0])
        return found

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for tag, attributes in self.tags if tag == "article"]


def hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


# -- without a browser --


def test_the_policy_names_every_script_and_style_and_lets_nothing_be_fetched() -> None:
    page = Page(html.render(of_every_kind()))
    directives = dict(part.split(" ", 1) for part in page.policy.split("; "))
    library = gzip.decompress(base64.b64decode(page.inside["script"][1])).decode()
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == f"{hashed(page.inside['script'][2])} {hashed(library)}"
    assert directives["style-src"] == f"{hashed(page.inside['style'][0])} {hashed('')}"
    assert "unsafe" not in page.policy
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds == ["application/json", "text/plain", None]


def test_nothing_refers_to_another_file_and_nothing_acts_inline() -> None:
    text = html.render(of_every_kind())
    page = Page(text)
    assert "://" not in text
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        assert not {"style", "src", "srcset", "action"} & {*attributes}
        assert not any(name.startswith("on") for name in attributes)
        if "href" in attributes:
            assert re.fullmatch(r"#(main|s-\d+|t-[0-9a-f]{16})", attributes["href"] or "")
        if "id" in attributes and tag == "article":
            assert re.fullmatch(r"t-[0-9a-f]{16}", attributes["id"] or "")


def test_every_test_is_there_with_its_numbers_and_why() -> None:
    run = of_every_kind()
    page = Page(html.render(run))
    text = "".join(page.text)
    for found in run.results:
        assert found.test in text
    assert len({*page.ids()}) == len(run.results) == len(page.data)
    for words in ("100.5 mJ / token", "the GPU waits for the host", "SM active: 93% -> 55%", "DRAM active (needs GPM)",
                  "Measured, but the number cannot be trusted.", "+35.0%", "Latencies", "5eb7272e105d"):  # fmt: skip
        assert words in text, words
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert {f"#{name}" for name in page.ids()} <= links


def test_a_sweep_is_told_in_words_in_a_table_and_as_data_for_its_chart() -> None:
    rates = Rates(Price(0.3, "EUR"), 350.0)
    page = Page(html.render(run_of(result(), sweeps=(swept(*SIZES), swept(*SIZES)), slo=SLO, rates=rates)))
    text = "".join(page.text)
    for words in ("chat decode", "max_num_seqs=16: 200.0 mJ/token", "against the default, which is the fastest",
                  "0.0167 EUR", "no host, cooling or embodied carbon", "recommended frontier",
                  "excluded: its test failed", "misses itl_p50 < 12 ms", "Tests", "test_it.py::test_step"):  # fmt: skip
        assert words in text, words
    told = page.data["s-1"]
    assert (told["x"], told["y"], told["limits"]) == ("itl_p50, ms", "mJ/token", [[12.0, SLO]])
    assert [point["standing"] for point in told["points"]] == ["frontier", "frontier", "frontier", "dominated"]
    assert [point["roles"] for point in told["points"]] == [
        ["default", "runner-up", "fastest"],
        ["recommended"],
        [],
        [],
    ]
    assert all(low < value < high for value, low, high in (point["y"] for point in told["points"]))
    ids = [attributes["id"] for tag, attributes in page.tags if "id" in attributes]
    assert len({*ids}) == len(ids)


def test_a_page_of_sweeps_alone_has_nothing_of_budgets() -> None:
    text = "".join(Page(html.render(run_of(meter=None, sweeps=(swept(*SIZES, source="a board, 2026"),)))).text)
    assert "Energy frontier: chat decode" in text
    assert "Published numbers: nothing was measured." in text
    assert not any(words in text for words in ("Tests", "Budgets", "No test carried", "95% interval", "unmeasured"))


def test_what_moved_and_what_to_do_come_first_once_for_each_cause() -> None:
    tests = [f"test_it.py::test_{number}" for number in range(20)]
    moved = [result(test, VerdictKind.REGRESSED, diagnosis=DIAGNOSIS) for test in tests]
    text = html.render(run_of(result("test_it.py::test_level"), *moved))
    first, _, table = text.partition('<table id="tests">')
    assert first.count("What moved or failed") == 1
    assert first.count("the GPU waits for the host") == 1
    assert first.count("<li>try: CUDA graphs</li>") == 1
    assert first.count("pytest-joules accept RESULT.json -k test_it.py::test_0") == 1
    assert "19 more of this kind" in first
    assert "and 7 more, in the table below" in first
    assert "test_level" not in first
    assert table.count("What moved or failed") == 0
    assert "What moved or failed" not in html.render(run_of(result("test_it.py::test_level")))


def test_signals_and_facts_of_nothing_share_a_line() -> None:
    found = result()
    assert found.measurement is not None
    signals = {"sm_active": 0.9, "fp64_active": 0.0, "fp16_active": 0.0002, "nvlink_bytes_per_second": 0.0}
    facts = {"preemptions_per_request": 0.0, "flops_per_token": 4.3252e10, "bytes_per_token": 1.9557e9}
    conditions = replace(found.measurement.conditions, power_cap_share=0.0, signals=signals, facts=facts)
    text = html.render(run_of(replace(found, measurement=replace(found.measurement, conditions=conditions))))
    nothing = re.findall("<dt>nothing of</dt><dd>(.*)</dd>", text)
    assert nothing == [
        "time under the power cap, FP64 pipe active, FP16 pipe active, NVLink traffic both ways, all devices",
        "preemptions_per_request",
    ]
    assert "<dd>43.3 billion</dd>" in text
    assert "<dd>1.96 GB</dd>" in text


def test_links_to_a_test_stay_the_same_whatever_else_is_in_the_run() -> None:
    alone = Page(html.render(run_of(result("test_it.py::test_one")))).ids()
    among = Page(
        html.render(run_of(result("test_it.py::test_two", VerdictKind.REGRESSED), result("test_it.py::test_one")))
    ).ids()
    assert alone[0] in among


def test_two_budgets_of_one_window_count_its_joules_once_and_have_links_of_their_own() -> None:
    page = Page(html.render(run_of(result(), result())))
    assert len({*page.ids()}) == 2
    assert "100.5 J" in "".join(page.text)


def test_the_same_result_gives_the_same_page_also_by_way_of_json(tmp_path: Path) -> None:
    run = of_every_kind()
    json_report.write(run, tmp_path / "result.json")
    assert html.render(json_report.read(tmp_path / "result.json")) == html.render(run)


def test_hostile_names_are_text_and_nothing_else() -> None:
    plain = [f"test_it.py::test_{number}" for number in range(len(HOSTILE))]
    text, other = (
        html.render(run_of(*map(result, tests), sweeps=tuple(swept(*tests, group=test) for test in tests)))
        for tests in (HOSTILE, plain)
    )
    page, harmless = Page(text), Page(other)
    text.encode()
    assert len(text) < 3e6
    assert len(page.inside["script"]) == 3
    assert len(page.inside["style"]) == 1
    # As many elements of each kind as for tests with plain names, but for what a long name is wrapped and folded by.
    extra = {"wbr", "details", "summary", "pre"}
    assert [tag for tag, _ in page.tags if tag not in extra] == [tag for tag, _ in harmless.tags if tag not in extra]
    shown = "".join(page.text)
    assert "test_it.py::test_a[<script>alert(1)</script>]" in shown
    assert r"test_it.py::test_a[\u202eevil\u2066bidi\u200b]" in shown
    assert "{{ 7 * 7 }}" in shown
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u2028\ud800\x00\x1b]", text)
    assert "</script><script>alert" in page.data[page.ids()[0]]["history"]["commit"][2] + "</script><script>alert"
    assert "<" not in page.inside["script"][0]


def test_an_empty_run_and_one_without_a_meter_are_said() -> None:
    text = "".join(Page(html.render(run_of(meter=None))).text)
    assert "No test carried an energy budget" in text
    assert "No meter was opened" in text
    replayed = replace(run_of(), meter=MeterInfo("a trace", True, (), replayed=True))
    assert "Replayed: an earlier run" in "".join(Page(html.render(replayed)).text)


def test_two_hundred_tests_stay_below_six_megabytes() -> None:
    made = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "html_report.py"))
    assert len(html.render(made["many"](200)).encode()) < 6e6


def test_of_very_many_tests_the_worst_have_a_page_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MOST_TESTS", 2)
    tests = [result(f"test_it.py::test_{number}") for number in range(3)]
    page = Page(html.render(run_of(*tests, result("test_it.py::test_bad", VerdictKind.REGRESSED))))
    text = "".join(page.text)
    assert len(page.ids()) == len(page.data) == 2
    assert "The 2 worst have a page of their own" in text
    assert all(found.test in text for found in tests)
    assert text.count("test_it.py::test_bad") > text.count("test_it.py::test_2") == 1


def test_the_flag_writes_the_page(suite: Suite) -> None:
    suite.write(
        """
        @pytest.mark.energy_budget
        def test_step(energy):
            energy.repeat(step, work=tokens)
        """
    )
    suite.store_baseline()
    flags = ("--energy-html=report.html", "--energy-json=report.json")
    suite.run(*flags, "--energy-price=0.30 EUR/kWh", "-n1").assert_outcomes(passed=1)
    page = Page((suite.path / "report.html").read_text(encoding="utf-8"))
    text = "".join(page.text)
    assert "Simulated: no real device was measured." in text
    assert "x 0.3 EUR/kWh; no host, cooling or embodied carbon" in text
    (told,) = page.data.values()
    assert len(told["history"]["t"]) == 3
    assert told["power"]["blocks"][0] > 0
    assert html.render(json_report.read(suite.path / "report.json")) == (suite.path / "report.html").read_text("utf-8")


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(suite: Suite) -> None:
    suite.write("def test_nothing(): pass")
    ran = suite.run("--energy-html=nowhere/report.html")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*--energy-html nowhere?report.html: its directory does not exist"])
    ran = suite.run("--energy-html=report", "--energy-json=./report")
    ran.stderr.fnmatch_lines(["*--energy-json and --energy-html both name report: give each a file of its own"])


# -- in a real browser --

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LACKING = (
    "no chromium here"
    if CHROMIUM is None
    else "playwright and axe-core are not installed: pip install axe-playwright-python"
    if importlib.util.find_spec("axe_playwright_python") is None
    else ""
)
in_a_browser = pytest.mark.skipif(bool(LACKING), reason=LACKING or "there is one")


class Tab:
    """A page in Chromium; whatever it complains of, and asks the network for, is kept."""

    def __init__(self, page: Any, path: Path) -> None:
        import axe_playwright_python

        self.page = page
        self.complaints: list[str] = []
        self._address = path.as_uri()
        page.on("console", lambda m: self.complaints.append(f"{m.type}: {m.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]")
        axe = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
        # As a debugger would: the page's policy rightly refuses another script.
        page.context.new_cdp_session(page).send("Runtime.evaluate", {"expression": axe})

    def _asked(self, request: Any) -> None:
        if request.url.partition("#")[0] != self._address:
            self.complaints.append(f"request: {request.url[:200]}")

    def open_test(self, name: str) -> None:
        self.page.locator("#tests").get_by_role("link", name=name, exact=True).click()
        self.page.wait_for_selector("article[data-charts]:target", timeout=60_000)

    def unfold(self) -> None:
        self.page.evaluate("document.querySelectorAll('article:target details').forEach(d => { d.open = true; })")
        self.page.wait_for_selector("article:target .data table")

    def findings(self) -> list[str]:
        """What axe-core calls serious or critical."""
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
        return [
            f"{f['impact']} {f['id']}: {f['nodes'][0]['html'][:200]}"
            for f in found
            if f["impact"] in ("serious", "critical")
        ]

    def sideways(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        return wider


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_complaints_no_requests_and_nothing_that_shuts_people_out(
    chromium: Any, tmp_path: Path, scheme: str, width: int
) -> None:
    run = of_every_kind()
    sweeps = (swept(*SIZES), swept(*HOSTILE, group=HOSTILE[-1]), swept(*SIZES, source="a board, 2026"))
    run = replace(run, results=(*run.results, *(result(test) for test in HOSTILE)), sweeps=sweeps, slo=SLO)
    write_whole(html.render(run), tmp_path / "report.html")
    page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    tab = Tab(page, tmp_path / "report.html")
    assert tab.findings() == []
    assert tab.sideways() <= 0
    page.locator("#s-1").scroll_into_view_if_needed()
    page.wait_for_selector("#s-1[data-charts]", timeout=60_000)
    assert page.locator("#s-1 .plot svg.main-svg").count() >= 1
    tab.open_test("test_it.py::test_why")
    tab.unfold()
    assert page.locator("article:target .plot svg.main-svg").count() >= 3
    assert page.locator("article:target .data table").count() == 3
    assert tab.findings() == []
    assert tab.sideways() <= 0
    page.close()
    assert tab.complaints == []


@in_a_browser
def test_filter_search_sort_links_keys_and_theme(chromium: Any, tmp_path: Path) -> None:
    write_whole(html.render(of_every_kind()), tmp_path / "report.html")
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    tab = Tab(page, tmp_path / "report.html")
    shown = page.locator("#shown")
    assert shown.get_attribute("aria-live") == "polite"
    assert shown.inner_text() == "21 of 21 shown"
    page.get_by_role("checkbox", name="REGRESSED").check()
    assert shown.inner_text() == "3 of 21 shown"
    page.get_by_label("Search").fill("why test_it")
    assert shown.inner_text() == "1 of 21 shown"
    page.get_by_label("Search").fill("")
    page.get_by_role("checkbox", name="REGRESSED").uncheck()
    page.get_by_role("button", name="Test").press("Enter")
    names = page.locator("#tests tbody a").all_inner_texts()
    assert names == sorted(names)
    assert page.locator("th[data-sort=test]").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Test").press("Enter")
    assert page.locator("#tests tbody a").all_inner_texts() == names[::-1]
    page.locator("#tests").get_by_role("link", name="test_it.py::test_why", exact=True).press("Enter")
    page.wait_for_selector("article[data-charts]:target", timeout=60_000)
    assert not page.locator("#overview").is_visible()
    assert page.evaluate("document.activeElement.textContent") == "test_it.py::test_why"
    address = page.url
    page.go_back()
    assert page.evaluate("document.activeElement.closest('table').id") == "tests"
    assert page.evaluate("document.activeElement.textContent") == "test_it.py::test_why"
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme").click()
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.close()
    assert tab.complaints == []
    direct = chromium.new_page()
    direct.goto(address)
    direct.wait_for_selector("article[data-charts]:target", timeout=60_000)
    assert direct.locator("article:target h2").inner_text() == "test_it.py::test_why"
    direct.close()


@in_a_browser
def test_a_link_to_the_list_shows_what_its_sender_saw(chromium: Any, tmp_path: Path) -> None:
    write_whole(html.render(of_every_kind()), tmp_path / "report.html")
    page = chromium.new_page()
    tab = Tab(page, tmp_path / "report.html")
    page.get_by_label("Search").fill("why & why")
    page.get_by_label("Search").fill("test_it.py")
    page.get_by_role("checkbox", name="REGRESSED").check()
    page.get_by_role("checkbox", name="INVALID").check()
    page.get_by_role("button", name="Test").press("Enter")
    page.get_by_role("button", name="Test").press("Enter")
    page.wait_for_url("**#q=test_it.py&verdict=REGRESSED,INVALID&sort=-test")
    names = page.locator("#tests tbody tr:visible a").all_inner_texts()
    assert names == sorted(names, reverse=True)
    address = page.url
    page.locator("#tests tbody tr:visible a").first.click()
    page.wait_for_selector("article[data-charts]:target", timeout=60_000)
    page.get_by_role("link", name="All tests").first.click()
    assert page.url == address
    page.locator(".notable a").first.press("Enter")
    page.wait_for_selector("article[data-charts]:target", timeout=60_000)
    page.go_back()
    assert page.evaluate("document.activeElement.closest('.notable') !== null")
    page.close()
    assert tab.complaints == []
    other = chromium.new_page()
    other.goto(address)
    other.wait_for_selector("html[data-ready]")
    assert other.locator("#tests tbody tr:visible a").all_inner_texts() == names
    assert other.get_by_label("Search").input_value() == "test_it.py"
    other.evaluate("location.hash = '#q=<b>&verdict=NONE&sort=constructor'")
    other.get_by_text("0 of 21 shown").wait_for()
    other.close()


@in_a_browser
def test_all_texts_are_there_without_scripts(chromium: Any, tmp_path: Path) -> None:
    why = result("test_it.py::test_why", VerdictKind.REGRESSED, diagnosis=DIAGNOSIS)
    run = run_of(why, sweeps=(swept(*SIZES),), slo=SLO)
    write_whole(html.render(run), tmp_path / "report.html")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "report.html").as_uri())
    assert page.locator("#s-1").get_by_text("max_num_seqs=16: 200.0 mJ/token").is_visible()
    assert page.locator("#s-1 .plot").is_hidden()
    page.locator("#tests").get_by_role("link", name="test_it.py::test_why", exact=True).click()
    assert page.locator("article").get_by_text("the GPU waits for the host").is_visible()
    context.close()
