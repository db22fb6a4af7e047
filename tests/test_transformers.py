"""The transformers adapter, on tiny models of the real library."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Suite

from pytest_joules.workloads.adapters import ADAPTERS
from pytest_joules.workloads.observer import Observer
from pytest_joules.workloads.torch import knobs
from pytest_joules.workloads.transformers import TransformersAdapter
from pytest_joules.workloads.work import Call, Work

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

END, PAD = 1, 0
SIZES = {"vocab_size": 64, "bos_token_id": 2, "eos_token_id": END, "pad_token_id": PAD}


@pytest.fixture(scope="module")
def decoder() -> Any:
    """Does not end by itself: its end token is as unlikely as any other is, and sampling is off."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SIZES, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1
    )
    return transformers.LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def encoder_decoder() -> Any:
    torch.manual_seed(0)
    config = transformers.T5Config(
        **SIZES, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=PAD
    )
    return transformers.T5ForConditionalGeneration(config).eval()


class Ends(list[Any]):
    """A logits processor by which row ``i`` ends with its ``lengths[i]``-th new token."""

    def __init__(self, lengths: list[int], given: int) -> None:
        super().__init__([self.scores])
        self._lengths, self._given = lengths, given

    def scores(self, ids: Any, scores: Any) -> Any:
        new = ids.shape[1] - self._given
        scores[:, [END, PAD]] = -torch.inf
        for row, length in enumerate(self._lengths):
            if new == length - 1:
                scores[row] = -torch.inf
                scores[row, END] = 0.0
        return scores

    def __call__(self, ids: Any, scores: Any) -> Any:
        return self.scores(ids, scores)


def observed(call: Call) -> Work:
    observer = Observer(ADAPTERS, lambda result, call: None, call)
    try:
        work = observer.work(call.fn(*call.args, **call.kwargs), call)
        assert not observer.notes
        return work
    finally:
        observer.close()


PROMPTS = torch.tensor([[PAD, PAD, 5, 6], [7, 8, 9, 10]])
MASK = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
EXACTLY_FIVE = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@pytest.mark.parametrize("as_output", [False, True])
def test_new_tokens_of_padded_prompts(decoder: Any, as_output: bool) -> None:
    given = {"input_ids": PROMPTS, "attention_mask": MASK, "return_dict_in_generate": as_output}
    work = observed(Call(decoder.generate, (), {**given, **EXACTLY_FIVE}))
    assert work.counts == {"token": 10, "prompt_token": 6, "request": 2}
    assert next(iter(work.counts)) == "token"
    # Without a mask every token is the prompt's.
    unmasked = observed(Call(decoder.generate, (PROMPTS,), {**EXACTLY_FIVE, "pad_token_id": None}))
    assert unmasked.counts == {"token": 10, "prompt_token": 8, "request": 2}


def test_tokens_up_to_the_end_token_and_no_padding(decoder: Any) -> None:
    arguments = {"attention_mask": MASK, "max_new_tokens": 6, "logits_processor": Ends([2, 5], given=4)}
    work = observed(Call(decoder.generate, (PROMPTS,), arguments))
    assert work.counts["token"] == 2 + 5
    # Where padding is the end token itself, as many set it:
    work = observed(Call(decoder.generate, (PROMPTS,), {**arguments, "pad_token_id": END}))
    assert work.counts["token"] == 2 + 5
    # Of several end tokens, any ends.
    work = observed(Call(decoder.generate, (PROMPTS,), {**arguments, "eos_token_id": [60, END]}))
    assert work.counts["token"] <= 2 + 5


def test_another_criterion_ends_rows_with_padding(decoder: Any) -> None:
    def first_row_after_two(ids: Any, scores: Any, **kwargs: Any) -> Any:
        return torch.tensor([ids.shape[1] >= 4 + 2, False])

    arguments = {"attention_mask": MASK, "max_new_tokens": 5, "logits_processor": Ends([9, 9], given=4)}
    criteria = transformers.StoppingCriteriaList([first_row_after_two])
    work = observed(Call(decoder.generate, (PROMPTS,), {**arguments, "stopping_criteria": criteria}))
    assert work.counts["token"] == 2 + 5


def test_several_sequences_and_beams_of_a_prompt(decoder: Any) -> None:
    given = {"input_ids": PROMPTS, "attention_mask": MASK, **EXACTLY_FIVE}
    beams = observed(Call(decoder.generate, (), {**given, "num_beams": 3, "num_return_sequences": 3}))
    assert beams.counts == {"token": 30, "prompt_token": 6, "request": 2}
    sampled = observed(Call(decoder.generate, (), {**given, "do_sample": True, "num_return_sequences": 2}))
    assert sampled.counts == {"token": 20, "prompt_token": 6, "request": 2}


def test_prompts_as_embeddings_are_not_given_back(decoder: Any) -> None:
    embeddings = decoder.get_input_embeddings()(PROMPTS)
    work = observed(Call(decoder.generate, (), {"inputs_embeds": embeddings, "attention_mask": MASK, **EXACTLY_FIVE}))
    assert work.counts == {"token": 10, "prompt_token": 6, "request": 2}


def test_the_start_token_of_a_decoder_is_not_new(encoder_decoder: Any) -> None:
    given = {"input_ids": PROMPTS, "attention_mask": MASK}
    work = observed(Call(encoder_decoder.generate, (), {**given, **EXACTLY_FIVE}))
    assert work.counts == {"token": 10, "prompt_token": 6, "request": 2}
    started = {**given, "decoder_input_ids": torch.tensor([[PAD, 9, 9]] * 2), **EXACTLY_FIVE}
    assert observed(Call(encoder_decoder.generate, (), started)).counts["token"] == 10
    ends = observed(
        Call(encoder_decoder.generate, (), {**given, "max_new_tokens": 6, "logits_processor": Ends([3, 1], given=1)})
    )
    assert ends.counts["token"] == 3 + 1


def test_settings_of_a_generation_config(decoder: Any) -> None:
    config = transformers.GenerationConfig(max_new_tokens=5, min_new_tokens=5, do_sample=False)
    work = observed(Call(functools.partial(decoder.generate, PROMPTS), (), {"generation_config": config}))
    assert work.counts["token"] == 10


@pytest.mark.parametrize(
    "settings", [EXACTLY_FIVE, {"max_new_tokens": 5, "eos_token_id": None}], ids=["exactly", "no end token"]
)
def test_nothing_is_looked_for_in_tokens_that_cannot_end_early(
    decoder: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call(decoder.generate, (PROMPTS,), {**settings, "pad_token_id": PAD})
    result = call.fn(*call.args, **call.kwargs)

    def copied(tensor: Any) -> int:
        raise AssertionError("a number was copied from the device")

    monkeypatch.setattr(torch.Tensor, "__int__", copied)
    monkeypatch.setattr(torch.Tensor, "__float__", copied)
    counted = TransformersAdapter().count(result, call)
    assert counted is not None
    assert counted.counts == {"token": 10, "prompt_token": 8, "request": 2}


def test_generation_inside_a_function(decoder: Any) -> None:
    given = {"input_ids": PROMPTS, "attention_mask": MASK, **EXACTLY_FIVE}

    def twice() -> str:
        for _ in range(2):
            decoder.generate(**given)
        return "text"

    assert observed(Call(twice)).counts == {"token": 20, "prompt_token": 12, "request": 4}
    assert "generate" not in vars(decoder)
    # A forward is a call.
    assert observed(Call(decoder, (PROMPTS,))).counts == {}
    assert observed(Call(lambda: decoder(PROMPTS).logits)).counts == {}


def test_drafts_of_an_assistant_are_not_counted(decoder: Any) -> None:
    given = {"input_ids": PROMPTS[1:], "attention_mask": MASK[1:], "assistant_model": decoder, **EXACTLY_FIVE}
    model = type(decoder)(decoder.config).eval()
    once = {"token": 5, "prompt_token": 4, "request": 1}
    assert observed(Call(model.generate, (), given)).counts == once
    assert observed(Call(lambda: (model.generate(**given), decoder)[0])).counts == once


def test_a_pipeline_of_text(decoder: Any) -> None:
    class Tokenizer(transformers.PreTrainedTokenizer):  # type: ignore[misc, name-defined]
        model_input_names = ("input_ids", "attention_mask")

        def get_vocab(self) -> dict[str, int]:
            return {str(number): number for number in range(64)}

        @property
        def vocab_size(self) -> int:
            return 64

        def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
            return text.split()

        def _convert_token_to_id(self, token: str) -> int:
            return int(token)

        def _convert_id_to_token(self, index: int) -> str:
            return str(index)

    tokenizer = Tokenizer(pad_token="0", eos_token="1", padding_side="left")
    pipeline = transformers.pipeline("text-generation", model=decoder, tokenizer=tokenizer)
    work = observed(Call(pipeline, (["5 6", "7 8 9"],), {**EXACTLY_FIVE, "batch_size": 2}))
    assert work.counts == {"token": 10, "prompt_token": 5, "request": 2}


def test_settings_that_are_kept(decoder: Any) -> None:
    call = Call(decoder.generate, (), {"num_beams": 2, "do_sample": False, "use_cache": True})
    observer = Observer(ADAPTERS, lambda result, call: None, call)
    found = observer.configuration
    observer.close()
    assert {name: value for name, value in found.items() if name not in knobs()} == {
        "model": "LlamaForCausalLM",
        "parameters": str(sum(p.numel() for p in decoder.parameters())),
        "dtype": "float32",
        "quantization": "unset",
        "attention": "sdpa",
        "num_hidden_layers": "1",
        "torch_compile": "False",
        "weights": "random",
        "num_beams": "2",
        "do_sample": "False",
        "use_cache": "True",
    }


@pytest.mark.parametrize("model", ["decoder", "encoder_decoder"])
def test_prefill_is_one_token_each(model: str, request: pytest.FixtureRequest) -> None:
    generate: Callable[..., Any] = request.getfixturevalue(model).generate
    given = {"input_ids": PROMPTS, "attention_mask": MASK, "max_length": 12, "min_length": 12}
    split = TransformersAdapter().split(Call(functools.partial(generate, **given)))
    assert split is not None
    assert (split.first, split.first_unit, split.rest, split.rest_unit) == (
        "prefill",
        "prompt_token",
        "decode",
        "token",
    )
    assert observed(split.call).counts == {"token": 2, "prompt_token": 6, "request": 2}
    assert TransformersAdapter().split(Call(lambda: generate(**given))) is None


def test_a_budget_per_token(suite: Suite) -> None:
    suite.write(
        """
    import torch, transformers

    torch.set_num_threads(1)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=None, pad_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.model.register_forward_hook(lambda *given: step(4) and None)

    @pytest.mark.energy_budget("1 J/token")
    @pytest.mark.energy_budget("1 J/prompt_token", window="prefill")
    @pytest.mark.energy_budget("1 J/token", window="decode")
    def test_generate(energy):
        energy.phases(model.generate, torch.ones(64, 3, dtype=torch.long), max_new_tokens=8, do_sample=False)
        whole, prefill, decode = energy.measurements
        # A forward of 40 ms, which is long for the host, takes 16.5 J for 64 rows.
        assert decode.joules / sum(b.units for b in decode.blocks["token"]) == pytest.approx(0.258, rel=0.1)
    """
    )
    ran = suite.run()
    ran.assert_outcomes(passed=1)
    ran.stdout.fnmatch_lines(["energy: 3 passed*"])


def test_a_window_that_is_refused_leaves_nothing_on_the_model(suite: Suite) -> None:
    suite.write(
        """
    import torch, transformers

    torch.set_num_threads(1)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        eos_token_id=None, pad_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    model.model.register_forward_hook(lambda *given: step() and None)

    def test_step(energy):
        fn = lambda: model.generate(torch.ones(2, 3, dtype=torch.long), max_new_tokens=2, do_sample=False)
        energy.repeat(fn, rounds=60)
        assert "generate" not in vars(model)
        with pytest.raises(ValueError, match="two windows named 'main'"):
            energy(fn)
        assert "generate" not in vars(model)
    """
    )
    suite.run().assert_outcomes(passed=1)
