"""A step of BLIP-2's first stage at the paper's shape, against transformers' modules.

ViT-L/14's stored features (257 tokens of 1,024), a Q-Former of BERT-base's size with 32 queries, 8
images, texts of 32 tokens, float32, forward and backward, without an optimiser. transformers has
the modules and no loss: here they are driven by the same three losses, with the same weights and
negatives, and must give the same numbers. The two take turns.

    python benchmarks/blip2.py [--rounds 5] [--threads 2] [--layers 12]
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from vlcourse import losses
from vlcourse.models.blip2 import BLIP2, BLIP2Config
from vlcourse.models.qformer_masks import multimodal_causal
from vlcourse.models.vit import ViTConfig
from vlcourse.weights.blip2 import qformer_to_transformers

BATCH, LENGTH, PATCHES = 8, 32, 257


class Peer(nn.Module):
    """transformers' Q-Former and embeddings with our weights, and our heads."""

    def __init__(self, model: BLIP2) -> None:
        super().__init__()
        import transformers
        from transformers.models.blip_2.modeling_blip_2 import Blip2TextEmbeddings

        weights, settings = qformer_to_transformers(model.qformer)
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        config = transformers.Blip2QFormerConfig(**settings, **dropout)
        self.qformer: Any = transformers.Blip2QFormerModel(config)
        self.qformer.load_state_dict(weights)
        self.embeddings = Blip2TextEmbeddings(config)
        self.embeddings.word_embeddings = model.qformer.words.token
        self.embeddings.position_embeddings.weight = model.qformer.words.positions
        self.ours = [model]  # a list: its other parts are not ours to count

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The three losses in the official order: two passes, one with three times the pairs, and
        one under the causal mask."""
        model, tokens, mask = self.ours[0], batch["tokens"], batch["mask"]
        count, smoothing = model.config.qformer.queries, model.config.smoothing
        queries = model.qformer.queries[None]
        seen = model.norm_image(batch["features"])
        asked = queries.expand(BATCH, -1, -1)
        image = self.qformer(query_embeds=asked, encoder_hidden_states=seen).last_hidden_state
        words = self.embeddings(tokens)
        read = self.qformer(query_embeds=words, query_length=0, attention_mask=mask.long())
        text = model.text_projection(read.last_hidden_state[:, 0])
        cosines = losses.query_similarity(model.image_projection(image), text) / model.temperature
        own = torch.eye(BATCH, dtype=torch.bool)
        itc = losses.itc_smoothed(cosines, cosines.T, own, smoothing)

        wrong_text = losses.hard_negatives(cosines, own)
        wrong_image = losses.hard_negatives(cosines.T, own)
        texts = torch.cat([tokens, tokens[wrong_text], tokens])
        masks = torch.cat([mask.new_ones(3 * BATCH, count), mask.repeat(3, 1)], dim=1)
        masks[BATCH : 2 * BATCH, count:] = mask[wrong_text]
        both = self.embeddings(texts, query_embeds=queries.expand(3 * BATCH, -1, -1))
        states = self.qformer(
            query_embeds=both, query_length=count, attention_mask=masks.long(),
            encoder_hidden_states=torch.cat([seen, seen, seen[wrong_image]]),
        ).last_hidden_state  # fmt: skip
        logits = model.itm_head(states[:, :count]).mean(dim=1)
        itm = losses.itm(logits, torch.arange(3 * BATCH) < BATCH)

        dec = torch.full_like(tokens[:, :1], model.config.qformer.dec)
        written = self.embeddings(torch.cat([dec, tokens[:, 1:]], dim=1), query_embeds=asked)
        allowed = multimodal_causal(count, mask)
        least = torch.finfo(torch.float32).min
        states = self.qformer(
            query_embeds=written, query_length=count, encoder_hidden_states=seen,
            attention_mask=torch.zeros(allowed.shape).masked_fill(~allowed, least),
        ).last_hidden_state[:, count:]  # fmt: skip
        targets = losses.lm_targets(tokens, mask)
        return {
            "itc": itc,
            "itm": itm,
            "itg": losses.lm(states, model.qformer.head, targets, smoothing),
        }


def step(model: Any, batch: dict[str, Tensor]) -> tuple[float, dict[str, float]]:
    """Wall time of a forward and a backward pass, and the losses."""
    torch.manual_seed(0)  # the same negatives
    start = time.perf_counter()
    found = model.losses(batch)
    torch.stack(list(found.values())).sum().backward()
    seconds = time.perf_counter() - start
    model.zero_grad(set_to_none=True)
    return seconds, {name: loss.item() for name, loss in found.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", type=int, default=12)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    preset = BLIP2Config.preset("ViT-L/14")
    model = BLIP2(
        replace(
            preset,
            image=ViTConfig(28, 14, 1024, 2, 16),  # not used: the features are stored
            qformer=replace(preset.qformer, layers=args.layers),
        )
    ).train()
    peer = Peer(model).train()
    tokens = torch.randint(1000, 30_000, (BATCH, LENGTH))
    tokens[:, 0] = model.config.qformer.cls
    mask = torch.arange(LENGTH) < torch.randint(12, LENGTH + 1, (BATCH, 1))
    batch = {"features": torch.randn(BATCH, PATCHES, 1024), "tokens": tokens, "mask": mask}
    runs: dict[str, Any] = {"vlcourse": model, "transformers": peer}
    found = {name: step(run, batch)[1] for name, run in runs.items()}
    for name, loss in found["vlcourse"].items():
        assert abs(loss - found["transformers"][name]) < 1e-3, found
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            times[name].append(step(run, batch)[0])
    median = {name: statistics.median(values) for name, values in times.items()}
    row = ", ".join(f"{name} {value:.2f} s" for name, value in median.items())
    ratio = median["vlcourse"] / median["transformers"]
    print(f"first stage, {args.layers} blocks, batch {BATCH}, {args.threads} threads: {row}")
    print(f"  {ratio:.2f} × transformers, the same losses: ", end="")
    print(", ".join(f"{name} {loss:.3f}" for name, loss in found["vlcourse"].items()), flush=True)


if __name__ == "__main__":
    main()
