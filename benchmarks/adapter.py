"""A training step of LLaMA-Adapter at 162 M parameters, against peft's AdaptionPrompt, in one run.

The same LLaMA (12 layers of 768), the same 10 prompts in the top 10 layers and one gate a layer
without a tanh, the same batches of answer-only instructions and the same AdamW: forward, backward,
and the optimiser's step, float32. The two take turns. Both must have the same loss at each step.

    python benchmarks/adapter.py [--steps 10] [--batch 4] [--length 128] [--threads 2]
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse.models.llama import LLaMA
from vlcourse.weights import from_hf, from_peft

PROMPTS, LAYERS, LR = 10, 10, 9e-3


def peer() -> Any:
    """transformers' LLaMA in peft's AdaptionPrompt, its gates opened a little."""
    import peft
    import transformers

    transformers.logging.set_verbosity_error()
    config = transformers.LlamaConfig(
        vocab_size=32_000, hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
        num_attention_heads=12, max_position_embeddings=2048,
        bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    settings = peft.AdaptionPromptConfig(
        adapter_len=PROMPTS, adapter_layers=LAYERS, task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(transformers.LlamaForCausalLM(config), settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "adaption_gate" in name:
                parameter.fill_(0.1)
    return model.train()


def twin(theirs: Any) -> Any:
    """Ours, with the same weights."""
    import peft
    import transformers

    weights = {
        name.replace("self_attn.model.", "self_attn."): tensor
        for name, tensor in theirs.get_base_model().state_dict().items()
        if "adaption_" not in name
    }
    plain = transformers.LlamaForCausalLM(theirs.get_base_model().config)
    plain.load_state_dict(weights)
    llm = from_hf(plain)
    assert isinstance(llm, LLaMA)
    settings = {
        "peft_type": "ADAPTION_PROMPT", "adapter_len": PROMPTS, "adapter_layers": LAYERS,
    }  # fmt: skip
    return from_peft(peft.get_peft_model_state_dict(theirs), llm, settings).train()


def batches(steps: int, batch: int, length: int) -> list[dict[str, Tensor]]:
    """Texts of which the second half is an answer, and learned."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(steps):
        tokens = torch.randint(32_000, (batch, length + 1), generator=generator)
        targets = tokens[:, 1:].clone()
        targets[:, : length // 2] = targets[:, -1:] = -100  # transformers has no target there
        found.append({"tokens": tokens[:, :-1], "targets": targets})
    return found


def our_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    return model.losses(batch)["lm"]


def their_loss(model: Any, batch: dict[str, Tensor]) -> Tensor:
    # Labels are moved by one inside: what is to be written at place i + 1 is the target at i.
    labels = torch.cat([torch.full_like(batch["targets"][:, :1], -100), batch["targets"]], dim=1)
    return model(input_ids=batch["tokens"], labels=labels[:, :-1]).loss


class Run:
    """One of the two: a model, its loss, and its optimiser."""

    def __init__(self, model: nn.Module, loss: Callable[..., Tensor]) -> None:
        self.model, self.loss = model, loss
        trained = [p for p in model.parameters() if p.requires_grad]
        self.trained = sum(p.numel() for p in trained)
        self.optimizer = torch.optim.AdamW(trained, lr=LR, betas=(0.9, 0.95), weight_decay=0.02)
        self.times: list[float] = []
        self.losses: list[float] = []

    def step(self, batch: dict[str, Tensor]) -> None:
        start = time.perf_counter()
        loss = self.loss(self.model, batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.times.append(time.perf_counter() - start)
        self.losses.append(loss.item())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if importlib.util.find_spec("peft") is None:
        raise SystemExit("peft is not installed: pip install peft, and run this again")
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")
    theirs = peer()
    runs = {"vlcourse": Run(twin(theirs), our_loss), "peft": Run(theirs, their_loss)}
    for batch in batches(args.steps + 1, args.batch, args.length):
        for run in runs.values():
            run.step(batch)
    ours, other = runs["vlcourse"], runs["peft"]
    assert ours.trained == other.trained
    apart = max(abs(a - b) for a, b in zip(ours.losses, other.losses, strict=True))
    assert apart < 1e-3, (ours.losses, other.losses)
    median = {name: statistics.median(run.times[1:]) for name, run in runs.items()}
    row = ", ".join(f"{name} {value:.2f} s" for name, value in median.items())
    print(
        f"{ours.trained:,} trained, batch {args.batch} of {args.length} tokens, {args.threads} "
        f"threads: {row}"
    )
    print(
        f"  {median['vlcourse'] / median['peft']:.2f} × peft; losses {ours.losses[0]:.3f} to "
        f"{ours.losses[-1]:.3f}, at most {apart:.1e} apart"
    )


if __name__ == "__main__":
    main()
