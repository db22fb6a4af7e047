"""transformers: new tokens, prompt tokens and requests of ``model.generate``, wherever a call makes use of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pytest_joules.facts import WEIGHTS
from pytest_joules.latency import Timings
from pytest_joules.workloads.settings import UNSET, kept
from pytest_joules.workloads.torch import module_settings, weights
from pytest_joules.workloads.work import Call, Override, Split, Work, distinct, is_a


class TransformersAdapter:
    """Models of transformers that generate, and its pipelines."""

    def count(self, result: object, call: Call | None) -> Work | None:
        """Tokens and requests of ``model.generate``, if that is what was called."""
        model = _generating(call) if call is not None else None
        return _generated(model, call, result) if model is not None and call is not None else None

    def watch(self, call: Call) -> GenerationWatch | None:
        """Watch the models that ``call`` uses."""
        models = distinct(model for value in call.objects() for model in _models(value))
        return GenerationWatch(models, call) if models else None

    def stream(self, item: object) -> None:
        """A streamer gives text, whose tokens cannot be counted."""
        del item

    def split(self, call: Call) -> Split | None:
        """Prefill is what the same prompts cost with one new token each; decode is the rest."""
        if _generating(call) is None:
            return None
        args, kwargs = call.bound()
        kwargs = {name: value for name, value in kwargs.items() if name not in ("max_length", "min_length")}
        kwargs |= {"max_new_tokens": 1, "min_new_tokens": 1}
        return Split("prefill", "prompt_token", "decode", "token", Call(call.called, args, kwargs))


def _generating(call: Call) -> Any:
    """The model whose ``generate`` is called; ``None`` if it is something else."""
    owner, method = call.method
    return owner if method == "generate" and is_a(owner, "transformers", "GenerationMixin") else None


def _models(value: Any) -> Iterator[Any]:
    if is_a(value, "transformers", "Pipeline"):
        value = value.model
    if is_a(value, "torch", "OptimizedModule"):
        value = value._orig_mod
    if is_a(value, "transformers", "GenerationMixin"):
        yield value


class GenerationWatch:
    """Counts what models generate inside a function or a pipeline, which returns something else."""

    def __init__(self, models: Sequence[Any], call: Call) -> None:
        """Counting begins now; :meth:`close` leaves everything as it was."""
        self.notes: tuple[str, ...] = ()
        self.timings = Timings()
        self.configuration = _settings(models[0], call)
        self._work = Work()
        self._depth = 0
        self._overrides = [Override(model, "generate", self._counting(model)) for model in models]

    def _counting(self, model: Any) -> Any:
        generate = model.generate

        def counting(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            try:
                result = generate(*args, **kwargs)
            finally:
                self._depth -= 1
            # An assistant model's drafts are not this call's tokens.
            work = _generated(model, Call(generate, args, kwargs), result) if not self._depth else None
            self._work = self._work.plus(work or Work())
            return result

        return counting

    def work(self) -> Work:
        """What was generated since the last time."""
        work, self._work = self._work, Work()
        return work

    def close(self) -> None:
        """Count no more."""
        for override in self._overrides:
            override.restore()


_GENERATION = ("num_beams", "do_sample", "use_cache", "cache_implementation")
"""What of a generation's settings changes how much is computed for a token."""


def _settings(model: Any, call: Call) -> Mapping[str, str]:
    quantization = getattr(model.config, "quantization_config", None)
    arguments = _Arguments(model, call) if _generating(call) is model else None
    return {
        **module_settings([model]),
        **kept(
            {
                "dtype": model.dtype,
                "quantization": UNSET if quantization is None else getattr(quantization, "quant_method", None),
                WEIGHTS: weights(model) or None,
                **{name: arguments.setting(name) for name in _GENERATION if arguments is not None},
            }
        ),
    }


def _generated(model: Any, call: Call, result: Any) -> Work | None:
    """The work of one ``generate``; ``None`` if its result is not tokens."""
    sequences = getattr(result, "sequences", result)
    if not is_a(sequences, "torch", "Tensor") or sequences.ndim != 2:
        return None
    arguments = _Arguments(model, call)
    prompts = arguments.prompts
    new = sequences[:, arguments.given_tokens :]
    counts = {"token": float(_until_end(new, arguments) if arguments.may_end_early else new.numel())}
    mask = arguments.get("attention_mask")
    if mask is not None and mask.ndim == 2:
        counts["prompt_token"] = float(mask.sum())
    elif prompts is not None and prompts.ndim == 2:
        counts["prompt_token"] = float(prompts.numel())
    counts["request"] = float(prompts.shape[0] if prompts is not None else sequences.shape[0])
    return Work(counts)


class _Arguments:
    """What one ``generate`` was given; settings are looked up where it looks for them."""

    def __init__(self, model: Any, call: Call) -> None:
        args, kwargs = call.bound()
        # The class's: a watched model has a stand-in.
        bound = inspect.signature(type(model).generate).bind_partial(model, *args, **kwargs).arguments
        self._given: Mapping[str, Any] = {**bound, **bound.get("kwargs", {})}
        self._model = model

    def get(self, name: str) -> Any:
        """An argument; ``None`` without it."""
        return self._given.get(name)

    def setting(self, name: str) -> Any:
        """A setting of the generation."""
        if name in self._given:
            return self._given[name]
        value = getattr(self.get("generation_config"), name, None)
        return value if value is not None else getattr(self._model.generation_config, name, None)

    @property
    def prompts(self) -> Any:
        """The prompts, as tokens or as whatever else the model takes; their first dimension is the batch."""
        names = ("input_ids", "inputs", "inputs_embeds", "input_features", "input_values", "pixel_values")
        return next((self._given[name] for name in names if self._given.get(name) is not None), None)

    @property
    def given_tokens(self) -> int:
        """How many of the first tokens in every sequence were not generated."""
        if self._model.config.is_encoder_decoder:
            given = self.get("decoder_input_ids")
            return int(given.shape[1]) if given is not None else 1
        tokens = self.get("input_ids") if self.get("input_ids") is not None else self.get("inputs")
        if tokens is None:  # from embeddings; or from nothing but a first token
            return 0 if self.get("inputs_embeds") is not None else 1
        return int(tokens.shape[1])

    @property
    def ends(self) -> list[int]:
        """The tokens that end a sequence."""
        end = self.setting("eos_token_id")
        return [] if end is None else [int(token) for token in (end if isinstance(end, (list, tuple)) else [end])]

    @property
    def may_end_early(self) -> bool:
        """Whether a sequence can be shorter than the longest: looking for it waits for the device."""
        if self.get("stopping_criteria") or self.setting("stop_strings"):
            return True
        least, most = self.setting("min_new_tokens"), self.setting("max_new_tokens")
        return bool(self.ends) and not (least and least == most)


def _until_end(tokens: Any, arguments: _Arguments) -> int:
    """Tokens of all rows up to their first end token, itself included; padding does not count."""
    ends = arguments.ends
    ended = sum(((tokens == end).long() for end in ends), tokens * 0)
    counted = ended.cumsum(1) == ended
    padding = arguments.setting("pad_token_id")
    if padding is not None and padding not in ends:
        counted &= tokens != padding
    return int(counted.sum())
