"""lm-evaluation-harness, tasks of type `generate_until`.

`--model tracedlm` decodes them with any exit rule.

`python -m tracedlm lm-eval ARGUMENTS` is the harness' own command with this model registered.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports] # extra `lm-eval`
from lm_eval.api.model import LM  # pyright: ignore[reportMissingImports]
from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]
from lm_eval.models.utils import normalize_gen_kwargs  # pyright: ignore[reportMissingImports]

from tracedlm.decode.settings import settings_of
from tracedlm.generation import generate
from tracedlm.models.denoiser import load_denoiser
from tracedlm.progress import Progress
from tracedlm.records.card import ExitCard
from tracedlm.records.rrm import Rrm
from tracedlm.stages.rrm.maps import build_rrms

HARNESS_DEVICES = ("cuda", "cuda:0")
"""What the harness says where its user named no device, on machines without one too.

There the denoiser chooses.
"""

READ_BY_THE_HARNESS = frozenset(
    {"until", "do_sample", "temperature", "max_gen_toks", "max_new_tokens", "max_tokens"}
)
"""Keys of `generation_kwargs` that the harness itself reads, or brings into one form."""

OWN_NAMES = {
    "gen_length": "gen_length",
    "steps": "steps",
    "block_length": "block_length",
    "cfg_scale": "guidance",
    "guidance": "guidance",
}
"""Keys of `generation_kwargs` -> arguments of `generate`.

The keys are those that users of diffusion models write.
"""

KEPT_TOGETHER = 8
"""Batches after which the harness caches responses (`--use_cache`).

A killed run goes on from there.
"""


@register_model("tracedlm")
class TracedLm(LM):
    """A denoiser with an exit rule, as the harness sees a model."""

    def __init__(
        self,
        path: str = "resources/base",
        adapter: str | None = None,
        rule: str = "full",
        rrm: str | None = None,
        gen_length: int | None = None,
        block_length: int = 32,
        steps: int | None = None,
        seed: int = 0,
        dtype: str | None = None,
        allow_remote_code: bool = False,
        device: str | None = None,
        batch_size: int | str = 16,
        max_batch_size: int | None = None,
        **settings: Any,
    ) -> None:
        """What `--model_args key=value,..` may say.

        Args:
            path: Checkpoint folder or hub id.
            adapter: PEFT adapter folder.
            rule: Exit rule; or an exit card (`.json`), which also says how to decode.
            rrm: Map file, for a rule that reads one; for `rank_softmax` the moments.
            gen_length: Tokens of the canvas; default: the task's `max_gen_toks`, rounded up to
                whole blocks.
            block_length: Tokens per block.
            steps: Denoising steps; default: half of `gen_length`.
            seed: Seed of the draws, for tasks that sample.
            dtype: Precision, `float32` or `bfloat16`.
            allow_remote_code: Run the code that a checkpoint brings along.
            device: Torch device name.
            batch_size: Samples decoded together; `auto` is 16.
            max_batch_size: Not read: the harness passes it to every model.
            **settings: Of the exit rule, such as `delta=1e-6,omega=3`; or of `tracedlm.generate`:
                `schedule`, `reuse`, `guidance`.

        Raises:
            ValueError: A setting is unknown or out of range, the rule reads a map and none is
                given, or the card is for another adapter.
        """
        super().__init__()
        self.decoding: dict[str, Any] = {
            key: settings.pop(key) for key in ("schedule", "reuse", "guidance") if key in settings
        }
        self.gen_length, self.block_length = gen_length, block_length
        self.steps, self.seed = steps, seed
        self.batch_size = 16 if str(batch_size).startswith("auto") else int(batch_size)
        self.card = ExitCard.read(rule) if rule.endswith(".json") else None
        if self.card is not None:
            self.card.check_adapter(adapter)
        self.rule, self.settings = self.card or rule, settings
        name = rule if self.card is None else self.card.rule
        rule_settings = settings if self.card is None else self.card.settings or {}
        reading = settings_of(name, **rule_settings).reading
        if reading and rrm is None:
            raise ValueError(
                f"exit rule {name!r} reads a map: add rrm=PATH to --model_args, e.g."
                " rrm=results/tiny/rrm/q.safetensors"
            )
        self.maps = (
            []
            if not reading or rrm is None
            else (
                build_rrms(rrm, matrix="B", basis="columns")
                if reading == "columns"
                else [Rrm.read(rrm)]
            )
        )
        if reading == "columns":
            self.decoding["activation"] = "lora_delta"
        if device in HARNESS_DEVICES and not torch.cuda.is_available():
            device = None
        self.denoiser = load_denoiser(
            path, adapter, device, dtype, allow_remote_code=allow_remote_code
        )
        self.path = str(Path(path))

    @property
    def tokenizer_name(self) -> str:
        """Whose chat template it is; the harness' request cache is told apart by it."""
        return self.path

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        return self.denoiser.tokenizer.chat_template if chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        flags = {
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        return self.denoiser.tokenizer.apply_chat_template(chat_history, tokenize=False, **flags)

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Responses, each cut at the first of its request's stop strings.

        In the order of the requests.

        Requests with one canvas and temperature are decoded together. A context is the text the
        harness made: a user turn only with `--apply_chat_template`.
        """
        groups: dict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
        parsed = [normalize_gen_kwargs(dict(request.args[1])) for request in requests]
        for number, request in enumerate(requests):
            groups[tuple(self._decoding(request.args[1], parsed[number]).items())].append(number)
        responses: dict[int, str] = {}
        with Progress("lm-eval tracedlm", len(requests), "request") as progress:
            for decoding, numbers in groups.items():
                for begin in range(0, len(numbers), size := KEPT_TOGETHER * self.batch_size):
                    part = numbers[begin : begin + size]
                    texts = self._texts(
                        [requests[number].args[0] for number in part],
                        dict(decoding),
                        self.seed + begin,
                    )
                    for number, text in zip(part, texts, strict=True):
                        responses[number] = _until(text, parsed[number]["until"])
                        self.cache_hook.add_partial(
                            "generate_until", requests[number].args, responses[number]
                        )
                    progress.add(len(part))
        return [responses[number] for number in range(len(requests))]

    def _decoding(self, wish: dict[str, Any], parsed: dict[str, Any]) -> dict[str, Any]:
        """Arguments of `generate` for a request.

        Those of the card, or its canvas and blocks, and its temperature.

        Args:
            wish: `generation_kwargs` of the task and of `--gen_kwargs`, as they are written.
            parsed: The same, as the harness reads them.

        Raises:
            ValueError: A wish would have no effect.
        """
        sampled = bool(wish.get("do_sample"))
        # Where nothing is drawn these mean nothing.
        idle = set() if sampled else {"top_p", "top_k", "min_p"}
        if unknown := sorted(set(wish) - READ_BY_THE_HARNESS - set(OWN_NAMES) - idle):
            raise ValueError(
                f"generation_kwargs, --gen_kwargs: {', '.join(unknown)} would have no effect on"
                " tracedlm; take it out. Known:"
                f" {', '.join(sorted(READ_BY_THE_HARNESS | set(OWN_NAMES)))}; exit rule, its"
                " settings and the seed are --model_args"
            )
        # Without a temperature, sampling is at 1, as in transformers.
        temperature = (
            float(wish.get("temperature", 1.0))
            if sampled
            else float(parsed.get("temperature", 0.0))
        )
        arguments = {OWN_NAMES[name]: value for name, value in wish.items() if name in OWN_NAMES}
        if self.card is not None:
            if arguments:
                raise ValueError(
                    f"generation_kwargs: {', '.join(arguments)} is the exit card's to say; take it"
                    " out"
                )
            return {**self.card.decoding, "temperature": temperature}
        block_length = int(arguments.pop("block_length", self.block_length))
        length = (
            int(arguments.pop("gen_length", 0))
            or self.gen_length
            or -(-parsed["max_gen_toks"] // block_length) * block_length
        )
        steps = int(arguments.pop("steps", 0)) or self.steps or length // 2
        canvas = {"gen_length": length, "block_length": block_length, "steps": steps}
        return {
            **self.decoding,
            **{name: float(value) for name, value in arguments.items()},
            **canvas,
            "temperature": temperature,
        }

    def _texts(self, contexts: list[str], decoding: dict[str, Any], seed: int) -> list[str]:
        tokenizer = self.denoiser.tokenizer
        begins = tokenizer.bos_token or ""
        # A chat template has written the begin token; other text gets what the tokenizer puts
        # around a text.
        tokens = [
            tokenizer(text, add_special_tokens=not (begins and text.startswith(begins)))[
                "input_ids"
            ]
            for text in contexts
        ]
        result = generate(
            self.denoiser,
            tokens,
            exit=self.rule,
            rrm=self.maps,
            batch_size=self.batch_size,
            seed=seed,
            **decoding,
            **self.settings,
        )
        return result.text

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> NoReturn:
        raise _no_likelihood()

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> NoReturn:
        raise _no_likelihood()


def _until(text: str, stops: list[str]) -> str:
    """The text before the first stop string."""
    return min((text.split(stop, 1)[0] for stop in stops if stop), key=len, default=text)


def _no_likelihood() -> NotImplementedError:
    return NotImplementedError(
        "tracedlm answers tasks of type generate_until only: a diffusion language model has no"
        " left-to-right likelihood of a text. What it has is a bound by sampling masks, which is no"
        " sum over tokens, and in which no exit rule plays a part. Choose the generative form"
    )
