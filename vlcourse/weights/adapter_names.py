"""How others name an adapter's weights: the tables of :mod:`vlcourse.weights.adapter`."""

from __future__ import annotations

from collections.abc import Iterable

from vlcourse.layers.around import LINEARS
from vlcourse.models.adapter_v2 import AdapterV2Config
from vlcourse.models.lora import LoRAConfig
from vlcourse.weights.rename import Rule

# transformers' names of a block's linear maps, below model.layers.N.
HF_LINEARS = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj",
    "out": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}  # fmt: skip
# Those of the released version 2 that have a bias, below llama.layers.N.
V2_BIASES = {
    "q": "attention.wq", "out": "attention.wo", "gate": "feed_forward.w1",
    "down": "feed_forward.w2", "up": "feed_forward.w3",
}  # fmt: skip


def prompt_rules(layers: int, below: int, prefix: str = "") -> list[Rule]:
    """The released names of prompts and gates: all prompts in one matrix, a gate in each layer.

    Args:
        layers: how many have prompts.
        below: how many layers come before those.
        prefix: before the names of the LLaMA's layers.
    """
    every = ",".join(map(str, range(layers)))
    return [
        Rule(f"layers.{{{every}}}.prompts", "adapter_query.weight", "rows"),
        *(
            Rule(f"layers.{i}.gate.value", f"{prefix}layers.{below + i}.attention.gate", "heads")
            for i in range(layers)
        ),
    ]


def v2_rules(config: AdapterV2Config) -> list[Rule]:
    """The released names of the multimodal version 2; of the norms what training changed."""
    block, theirs = "visual.blocks.*", "visual_blocks.*"
    below = config.llm.layers - config.layers
    names = {"norm1": "attention_norm", "norm2": "ffn_norm"}
    return [
        *prompt_rules(config.layers, below, "llama."),
        Rule("visual.into.*", "clip_proj.*"),
        Rule("visual.norm_into.*", "clip_proj_norm.*"),
        Rule("visual.queries", "visual_query.weight"),
        Rule(f"{block}.attention.{{q,k,v}}.weight", f"{theirs}.attn.qkv.weight", "rows"),
        Rule(f"{block}.attention.{{q,k,v}}.bias", f"{theirs}.attn.qkv.bias", "rows"),
        Rule(f"{block}.attention.out.*", f"{theirs}.attn.proj.*"),
        Rule(f"{block}.mlp.up.*", f"{theirs}.mlp.fc1.*"),
        Rule(f"{block}.mlp.down.*", f"{theirs}.mlp.fc2.*"),
        *(Rule(f"{block}.{norm}.*", f"{theirs}.{norm}.*") for norm in names),
        Rule("visual.out.*", "visual_proj.*"),
        Rule("visual.norm_out.*", "visual_proj_norm.*"),
        *(
            Rule(f"tuned.*.linears.{ours}.bias", f"llama.layers.*.{name}.bias")
            for ours, name in V2_BIASES.items()
        ),
        *(
            Rule(f"tuned.*.{norm}.shift", f"llama.layers.*.{name}.weight")
            for norm, name in names.items()
        ),
        Rule("norm_final.shift", "llama.norm.weight"),
    ]


def v2_norms(layers: int) -> dict[str, str]:
    """The released version 2's names of the norms → the LLaMA's own here."""
    found = {"llama.norm.weight": "norm_final.weight"}
    for i in range(layers):
        found[f"llama.layers.{i}.attention_norm.weight"] = f"blocks.{i}.norm1.weight"
        found[f"llama.layers.{i}.ffn_norm.weight"] = f"blocks.{i}.norm2.weight"
    return found


PEFT = "base_model.model.model.layers"


def peft_prompts(layers: int, below: int) -> list[Rule]:
    """peft's names of prompts (1, K, D) and gates (1,), in the layers' attentions."""
    found = []
    for i in range(layers):
        where = f"{PEFT}.{below + i}.self_attn"
        found += [
            Rule(f"layers.{i}.prompts", f"{where}.adaption_prompt", "lead", axes=1),
            Rule(f"layers.{i}.gate.value", f"{where}.adaption_gate"),
        ]
    return found


def peft_lora(config: LoRAConfig) -> list[Rule]:
    """peft's names of LoRA's maps. Its rotations turn halves of a head, and so do the rows of B."""
    head = config.llm.channels
    found = []
    for name in config.targets:
        where = f"{PEFT}.*.{HF_LINEARS[name]}"
        turned = {"op": "halves", "head": head} if name in ("q", "k") else {}
        found += [
            Rule(f"layers.*.{name}.a", f"{where}.lora_A.weight"),
            Rule(f"layers.*.{name}.b", f"{where}.lora_B.weight", **turned),  # type: ignore[arg-type]
        ]
    return found


def of_hf(names: Iterable[str]) -> list[str]:
    """transformers' last names of linear maps → ours, in our order; KeyError for another."""
    last = {name.rpartition(".")[2]: ours for ours, name in HF_LINEARS.items()}
    wanted = {last[name] for name in names}
    return [name for name in LINEARS if name in wanted]


def hf_targets(targets: Iterable[str]) -> list[str]:
    """Our names of linear maps → transformers' last names."""
    return [HF_LINEARS[name].rpartition(".")[2] for name in targets]
