"""Windows: one shot, several of them, async, and the explicit form of repeated calls."""

from __future__ import annotations

import pytest
from conftest import STEP_JOULES_PER_TOKEN, Suite

from pytest_joules.model import WindowKind

SHOT = """
    def shot(steps=60):
        for _ in range(steps):
            step()
"""


def test_a_single_shot_is_judged_by_three_stored_ones(suite: Suite) -> None:
    suite.write(
        SHOT
        + """
    @pytest.mark.energy_budget(per="token", tolerance="5%")
    def test_shot(energy):
        with energy.window("decode") as window:
            shot()
            window.count(token=60 * 64)
    """
    )
    for sessions, verdict in ((2, "INCONCLUSIVE"), (1, "PASS")):
        suite.store_baseline(test="test_it.py::test_shot", window="decode", sessions=sessions, kind=WindowKind.ONE_SHOT)
        _, report = suite.report()
        assert report["results"][0]["verdict"]["kind"] == verdict
    measured = report["results"][0]["measurement"]
    assert (measured["kind"], len(measured["blocks"]["token"])) == ("one-shot", 1)
    # Idle watts before and after are taken off: what is left is what the work cost above and below it.
    assert report["results"][0]["verdict"]["joules_per_unit"] == pytest.approx(STEP_JOULES_PER_TOKEN, rel=0.05)


def test_several_windows_with_a_budget_each(suite: Suite) -> None:
    suite.write(
        SHOT
        + """
    @pytest.mark.energy_budget("1 kJ/call", window="prefill")
    @pytest.mark.energy_budget("1 mJ/token", window="decode")
    def test_both(energy):
        with energy.window("prefill"):
            shot()
        energy.repeat(step, work=tokens, window="decode")
        assert [m.window for m in energy.measurements] == ["prefill", "decode"]
        assert energy.joules == sum(m.joules for m in energy.measurements) > 0
    """
    )
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["OVER_LIMIT: *mJ/token*", "energy: 1 passed, 0 regressed, 1 over limit*"])


def test_two_units_of_one_window(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget("80 mJ/token")
    @pytest.mark.energy_budget("1 mJ/call")
    def test_step(energy):
        energy.repeat(step, work=tokens)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["OVER_LIMIT: *J/call*", "energy: 1 passed, 0 regressed, 1 over limit*"])


def test_a_budget_that_does_not_say_which_window(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget
    def test_step(energy):
        energy.repeat(step, rounds=70, warmup=1, window="a")
        energy.repeat(step, rounds=70, warmup=1, window="b")
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        ["INVALID: the test measured windows 'a', 'b': say which one with energy_budget(window=...)"]
    )


def test_async_functions_and_windows(suite: Suite) -> None:
    suite.write("""
    import asyncio

    async def async_step(scale):
        await asyncio.sleep(0)
        return step(scale)

    @pytest.mark.energy_budget("80 mJ/token", window="main")
    @pytest.mark.energy_budget("1 kJ/call", window="shot")
    def test_async(energy):
        async def body():
            counts = await energy(async_step, 1.0)
            assert counts == {"token": 64}
            async with energy.window("shot"):
                for _ in range(60):
                    await async_step(1.0)
        asyncio.run(body())
        assert energy.measurements[0].calls > 40  # a block of five ticks holds 50
    """)
    suite.write("def pytest_joules_count_work(result):\n    return result\n", "conftest.py", prelude="")
    suite.run().assert_outcomes(passed=1)


def test_a_window_that_raises_is_not_measured(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget(window="w")
    def test_raises(energy):
        with pytest.raises(RuntimeError), energy.window("w"):
            raise RuntimeError
        assert energy.measurements == ()
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(
        ["UNMEASURED: the test carries a budget but the measured call raised: window 'w' has no joules"]
    )


def test_a_call_that_raises_is_told_from_none(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget
    def test_raises(energy):
        with pytest.raises(ZeroDivisionError):
            energy(lambda: 1 / 0)

    @pytest.mark.energy_budget(gate=False)
    def test_measures_on(energy):
        with pytest.raises(ZeroDivisionError):
            energy.repeat(lambda: 1 / 0, window="broken")
        energy.repeat(step, rounds=70, warmup=1)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1, passed=1)
    ran.stdout.fnmatch_lines(["UNMEASURED: * the measured call raised: window 'main' has no joules"])


def test_the_explicit_form(suite: Suite) -> None:
    suite.write("""
    calls = []

    def numbered(n, scale=1.0):
        calls.append(n)
        step(scale)
        return n

    def test_rounds(energy):
        prepared = iter(range(1000))
        result = energy.repeat(numbered, setup=lambda: ((next(prepared),), {"scale": 1.0}), rounds=70, warmup=5)
        assert result == 74
        assert calls == list(range(75))
        assert energy.measurements[0].any_blocks

    @pytest.mark.parametrize(
        "wrong",
        [{"rounds": 0}, {"rounds": 110.5}, {"warmup": -1}, {"warmup": "2"}, {"max_seconds": -1},
         {"max_seconds": float("nan")}, {"max_seconds": float("inf")}],
    )
    def test_wrong(energy, wrong):
        with pytest.raises(ValueError, match="must be a (whole )?number of at least"):
            energy.repeat(step, **wrong)
    """)
    suite.run().assert_outcomes(passed=8)


def test_too_few_rounds_for_a_block_are_invalid(suite: Suite) -> None:
    suite.write("""
    @pytest.mark.energy_budget
    def test_short(energy):
        energy.repeat(step, rounds=3, warmup=0)
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["INVALID: * s hold no whole block: raise rounds, or let the stop rule choose"])


def test_calls_longer_than_a_block(suite: Suite) -> None:
    suite.write("""
    def generate():
        for _ in range(70):
            step()
        return {"token": 70 * 64}

    @pytest.mark.energy_budget(tolerance="2%")
    def test_long(energy):
        energy.repeat(generate, work=tokens)
        assert all(0.6 < block.seconds < 1.3 for block in energy.measurements[0].any_blocks)
    """)
    suite.store_baseline(test="test_it.py::test_long")
    suite.run().assert_outcomes(passed=1)


def test_work_that_never_settles_is_measured_and_flagged(suite: Suite) -> None:
    suite.write("""
    import itertools

    scale = itertools.count(1)

    def grows():
        launch(bytes=(1 + 0.01 * next(scale)) * 0.01 * 3.0e12)
        synchronize()

    @pytest.mark.energy_budget("1 kJ/call")
    def test_grows(energy):
        energy(grows)
    """)
    ran = suite.run("--energy-max-seconds=2")
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["*test_grows: not steady after 4.* s of warm-up"])


NOT_PLAIN = """
    import asyncio, functools

    ran = []

    async def work(scale=1.0):
        await asyncio.sleep(0)
        ran.append(1)
        return step(scale)

    class Engine:
        async def __call__(self):
            return await work()

    WAYS = {"lambda": lambda: work(), "partial": functools.partial(work, 1.0), "instance": Engine()}

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.energy_budget("80 mJ/token")
    def test_async(energy, way):
        async def body():
            assert await energy.repeat(WAYS[way], work=tokens, rounds=110, warmup=5) == {"token": 64}
        asyncio.run(body())
        assert ran

    def stream():
        ran.append(1)
        yield step()

    async def async_stream():
        ran.append(1)
        yield step()

    async def gives_a_stream():
        return stream()

    @pytest.mark.parametrize("lazy", [stream, async_stream, lambda: map(step, [1.0]), lambda: iter([1])])
    def test_lazy(energy, lazy):
        with pytest.raises(ValueError, match="consume it in fn"):
            energy.repeat(lazy, work={"token": 64})

    def test_what_is_awaited_is_lazy(energy):
        with pytest.raises(ValueError, match="the call gave a generator, .* consume it in fn"):
            asyncio.run(energy(gives_a_stream))
"""


def test_what_is_to_be_awaited_is_told_by_the_result_and_a_generator_is_refused(suite: Suite) -> None:
    suite.write(NOT_PLAIN)
    suite.run().assert_outcomes(passed=8)
    # Without --energy nothing is measured, and everything else is the same.
    suite.pytester.runpytest_subprocess().assert_outcomes(passed=8)


def test_what_was_not_awaited_is_unmeasured(suite: Suite) -> None:
    suite.write("""
    async def work():
        step()

    @pytest.mark.filterwarnings("ignore::RuntimeWarning")
    @pytest.mark.energy_budget
    def test_forgets(energy):
        energy(lambda: work())
    """)
    ran = suite.run()
    ran.assert_outcomes(failed=1)
    ran.stdout.fnmatch_lines(["UNMEASURED: *window 'main' never ended: await energy(...)"])


def test_windows_do_not_nest(suite: Suite) -> None:
    suite.write("""
    import asyncio

    def refused(inner):
        return pytest.raises(ValueError, match=f"window '{inner}' begins before window 'outer' has ended")

    def test_repeat_in_window(energy):
        with energy.window("outer"):
            with refused("main"):
                energy(step)
            for _ in range(60):
                step()
        assert [m.window for m in energy.measurements] == ["outer"]

    def test_window_in_window(energy):
        with refused("inner"), energy.window("outer"), energy.window("inner"):
            pass

    def test_window_in_repeat(energy):
        def nests():
            with energy.window("inner"):
                pass
        with refused("inner"):
            energy.repeat(nests, window="outer")
        energy.repeat(step, rounds=70, warmup=1, window="after")

    def test_at_the_same_time(energy):
        async def work():
            await asyncio.sleep(0)
        async def body():
            await asyncio.gather(energy.repeat(work, window="outer"), energy.repeat(work))
        with refused("main"):
            asyncio.run(body())
    """)
    suite.run("-W", "ignore::RuntimeWarning").assert_outcomes(passed=4)
