"""LLaMA's weights in transformers' layout and in the official one, in and out, and in shards."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from llama_twin import HEADS, VOCAB, WIDTH, settings, text, transformers, twin
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlcourse import weights
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.llama import LLAMA3, PRESETS, LLaMA, LLaMAConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights import llama as layouts
from vlcourse.weights.mappings import Merged
from vlcourse.weights.rename import Rule, WeightsError, fill, to_theirs

Weights = dict[str, Tensor]


def same_bytes(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


def random_model(**changes: Any) -> LLaMA:
    """Sizes that 4 shards can divide: 4 heads of 6 channels."""
    torch.manual_seed(0)
    shape = dict(vocab_size=20, width=24, layers=2, heads=4, hidden=28, norm_eps=1e-5)
    model = LLaMA(LLaMAConfig(**{**shape, **changes}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


# transformers' layout


@pytest.mark.parametrize("kv_heads", [HEADS, 1], ids=["MHA", "GQA"])
def test_transformers_in_and_out_gives_the_same_bytes(kv_heads: int) -> None:
    theirs = twin(num_key_value_heads=kv_heads)
    ours = weights.from_hf(theirs)
    out, config = weights.to_transformers(ours)
    same_bytes(out, theirs.state_dict())
    again = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(config))
    again.load_state_dict(out, strict=True)
    with torch.no_grad():
        assert torch.equal(again.eval()(text(1, 9)).logits, theirs(text(1, 9)).logits)
    changed = {n.split(".")[-2] for n, t in out.items() if not shares(t, ours)}
    assert changed == {"q_proj", "k_proj"}  # nothing else was copied
    assert not ours.training and isinstance(ours, LLaMA)


def shares(tensor: Tensor, model: nn.Module) -> bool:
    return tensor.data_ptr() in {p.data_ptr() for p in model.parameters()}


def test_the_permutation_is_the_published_one() -> None:
    """The function of the conversion script that transformers shipped up to version 4."""
    q = torch.randn(3 * 8, 5)
    published = q.view(3, 4, 2, 5).transpose(1, 2).reshape(24, 5)
    table = [Rule("weight", "w", "halves", 8), Rule("bias", "b", "halves", 8)]
    bias = torch.arange(24.0)
    out = to_theirs({"weight": q, "bias": bias}, table)
    assert torch.equal(out["w"], published)
    assert out["b"][:8].tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    linear = nn.Linear(5, 24)
    fill(linear, out, table)
    assert torch.equal(linear.weight, q) and torch.equal(linear.bias, bias)


@pytest.mark.parametrize("size", ["10MB", "30KB"], ids=["one file", "shards"])
def test_a_folder_that_transformers_saved(tmp_path: Path, size: str) -> None:
    theirs = twin(num_key_value_heads=1)
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 3) == (size == "30KB")
    ours = weights.from_hf(tmp_path)
    same_bytes(ours.state_dict(), weights.from_hf(theirs).state_dict())
    assert ours.config == weights.from_hf(theirs).config


@pytest.mark.parametrize("shard_bytes", [10_000_000, 30_000], ids=["one file", "shards"])
def test_a_folder_that_we_saved(tmp_path: Path, shard_bytes: int) -> None:
    theirs = twin(num_key_value_heads=1)
    ours = weights.from_hf(theirs, dtype=torch.bfloat16)
    weights.save_hf(ours, tmp_path / "new" / "model", shard_bytes)
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "new" / "model")
    assert again.dtype == torch.bfloat16  # config.json says so
    same_bytes(again.state_dict(), theirs.bfloat16().state_dict())
    same_bytes(
        weights.from_hf(tmp_path / "new" / "model", dtype=torch.bfloat16).state_dict(),
        ours.state_dict(),
    )
    files = list((tmp_path / "new" / "model").glob("*.safetensors"))
    assert all(file.stat().st_size < shard_bytes + 5000 for file in files)
    index = tmp_path / "new" / "model" / "model.safetensors.index.json"
    assert (len(files) > 3) == index.is_file() == (shard_bytes == 30_000)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model"]


def test_a_saved_clip(tmp_path: Path) -> None:
    tower = dict(width=16, layers=1, heads=2)
    config = CLIPConfig(
        8, ViTConfig(image_size=8, patch_size=4, **tower), TextConfig(20, 7, **tower)
    )
    model = config.build()
    weights.save_hf(model, tmp_path)
    same_bytes(
        transformers.CLIPModel.from_pretrained(tmp_path).state_dict(),
        weights.to_transformers(model)[0],
    )
    assert weights.from_hf(tmp_path).config == config


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    model = random_model()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine")
    with pytest.raises(WeightsError, match="taken exists already: name a new folder"):
        weights.save_hf(model, tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["notes.txt"]
    written = []

    def full(path: Path, tensors: Weights) -> None:
        written.append(path)
        if len(written) == 3:
            raise OSError("no space left")

    monkeypatch.setattr(weights.files, "write_weights", full)
    with pytest.raises(OSError, match="no space left"):
        weights.save_hf(model, tmp_path / "new", shard_bytes=2000)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(WeightsError, match="transformers has no"):
        other = nn.Module()
        other.config = None
        weights.to_transformers(other)


def test_a_tied_head_stays_tied(tmp_path: Path) -> None:
    theirs = twin(tie_word_embeddings=True)
    theirs.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    for source in (tmp_path, theirs):
        ours = weights.from_hf(source)
        assert ours.config.tied and ours.head.weight is ours.token.weight
        same_logits(ours, theirs, 9)
    out, config = weights.to_transformers(ours)
    assert config["tie_word_embeddings"] and "lm_head.weight" not in out
    weights.save_hf(ours, tmp_path / "ours")
    same_logits(ours, transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours").eval(), 9)
    official, params = weights.to_official(ours)
    assert torch.equal(official["output.weight"], official["tok_embeddings.weight"])
    assert weights.from_official(official, params, context=40).config == ours.config
    del official["output.weight"]
    again = weights.from_official(official, params | {"vocab_size": -1}, context=40)
    assert again.config == ours.config
    same_bytes(again.state_dict(), ours.state_dict())


def test_a_tied_model_that_stores_only_its_head(tmp_path: Path) -> None:
    theirs = twin(tie_word_embeddings=True)
    theirs.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    stored["lm_head.weight"] = stored.pop("model.embed_tokens.weight")
    save_file(stored, tmp_path / "model.safetensors")
    same_logits(weights.from_hf(tmp_path), theirs, 9)
    save_file(stored | {"model.embed_tokens.weight": torch.ones(VOCAB, WIDTH)},
              tmp_path / "model.safetensors")  # fmt: skip
    with pytest.raises(WeightsError, match="lm_head.weight .* is not .* though its config says"):
        weights.from_hf(tmp_path)


def same_logits(ours: LLaMA, theirs: nn.Module, length: int) -> None:
    with torch.no_grad():
        expected = theirs(text(2, length)).logits
        torch.testing.assert_close(ours(text(2, length)), expected, rtol=1e-5, atol=1e-5)


LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 300.0, "factor": 4.0, "low_freq_factor": 1.0,
    "high_freq_factor": 4.0, "original_max_position_embeddings": 40,
}  # fmt: skip
LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 300.0, "factor": 4.0}


@pytest.mark.parametrize("rope", [LLAMA3_ROPE, LINEAR_ROPE], ids=["llama3", "linear"])
def test_slowed_rotations_beyond_the_old_context(tmp_path: Path, rope: dict[str, Any]) -> None:
    """LLaMA 3.1's and 3.2's, on texts of three times the old context, in and out again."""
    shape = dict(max_position_embeddings=160, num_key_value_heads=1, head_dim=20)
    theirs = twin(rope_parameters=rope, **shape)
    ours = weights.from_hf(theirs)
    assert (ours.config.rope_factor, ours.config.head_width) == (4.0, 20)
    same_logits(ours, theirs, 120)
    plain = weights.from_hf(twin(**shape))
    assert (plain(text(2, 120)) - ours(text(2, 120))).abs().max() > 0.1  # it matters
    weights.save_hf(ours, tmp_path / "ours")
    same_logits(ours, transformers.LlamaForCausalLM.from_pretrained(tmp_path / "ours").eval(), 120)
    assert weights.from_hf(tmp_path / "ours").config == ours.config
    old = weights.to_transformers(ours)[1]  # as files of transformers 4 say it
    del old["rope_parameters"]
    assert layouts.config_from_hf(old) == ours.config
    with torch.no_grad():  # token by token, with a cache
        cache = ours.new_cache(2, 120)
        steps = [ours.step(text(2, 120)[:, i : i + 1], cache) for i in range(120)]
    torch.testing.assert_close(torch.stack(steps, 1), ours(text(2, 120)), rtol=1e-4, atol=1e-4)


def test_the_published_llama_3s() -> None:
    """Their config.json as Meta published it, and the params.json of the official files."""
    published = {
        "model_type": "llama", "hidden_size": 2048, "head_dim": 64, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128_256, "max_position_embeddings": 131_072, "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0, "tie_word_embeddings": True,
        "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    }  # fmt: skip
    assert layouts.config_from_hf(published) == LLaMAConfig.preset("3.2-1B")
    one = {"dim": 2048, "ffn_dim_multiplier": 1.5, "multiple_of": 256, "n_heads": 32}
    one |= {"n_kv_heads": 8, "n_layers": 16, "norm_eps": 1e-5, "rope_theta": 500_000.0}
    one |= {"use_scaled_rope": True, "vocab_size": 128_256}
    only = {"tok_embeddings.weight": torch.empty(1)}
    assert layouts.config_from_official(one, only, None) == LLAMA3["3.2-1B"]
    three = one | {"dim": 3072, "n_layers": 28, "n_heads": 24, "ffn_dim_multiplier": 1.0}
    assert layouts.config_from_official(three, only, None) == LLAMA3["3.2-3B"]
    eight = one | {"dim": 4096, "n_layers": 32, "ffn_dim_multiplier": 1.3, "multiple_of": 1024}
    assert layouts.config_from_official(eight, {}, None) == LLAMA3["3.1-8B"]
    other = one | {"dim": 1024}
    with pytest.raises(WeightsError, match="add rope_scaling_factor"):
        layouts.config_from_official(other, only, None)
    said = layouts.config_from_official(other | {"rope_scaling_factor": 16}, only, None)
    assert said.rope_factor == 16
    for config in LLAMA3.values():
        weight = only if config.tied else {}
        params = layouts.config_to_official(config)
        assert layouts.config_from_official(params, weight, None) == config
        assert layouts.config_from_hf(layouts.config_to_hf(config)) == config
    with pytest.raises(WeightsError, match="rope_context 8192"):
        layouts.config_to_official(LLaMAConfig(rope_factor=2.0))


@pytest.mark.parametrize(("name", "count"), [("3.1-8B", 8_030_261_248), ("3.2-1B", 1_235_814_400),
                                             ("3.2-3B", 3_212_749_824)])  # fmt: skip
def test_parameters_of_the_published_llama_3s(name: str, count: int) -> None:
    with torch.device("meta"):
        model = LLaMAConfig.preset(name).build()
    assert sum(p.numel() for p in model.parameters()) == count


def test_consolidated_safetensors(tmp_path: Path) -> None:
    """Mistral's way: official names in one safetensors file, heads of any width."""
    model = random_model(kv_heads=2, head_width=10, theta=1e6)
    out, params = weights.to_official(model)
    params = {k: v for k, v in params.items() if k not in ("multiple_of", "ffn_dim_multiplier")}
    save_file(out, tmp_path / "consolidated.safetensors")
    (tmp_path / "params.json").write_text(json.dumps(params | {"hidden_dim": 28}))
    read = weights.from_official(tmp_path)
    assert read.config == model.config
    same_bytes(read.state_dict(), model.state_dict())


class OneByOne(Mapping[str, Tensor]):
    """Weights that count how many of the tensors they gave are still in memory."""

    def __init__(self, stored: Weights) -> None:
        self.stored, self.given, self.most = stored, [], 0

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.stored[name].clone()
        self.given.append(weakref.ref(tensor))
        self.most = max(self.most, sum(ref() is not None for ref in self.given))
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self.stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def test_a_model_is_in_memory_once_while_it_is_loaded() -> None:
    source = OneByOne(twin().state_dict())
    config = layouts.config_from_hf(settings())
    model = config.build()
    fill(model, source, layouts.hf_table(config), dtype=torch.bfloat16)
    assert len(source.given) == len(source) and source.most <= 2
    assert all(p.dtype == torch.bfloat16 for p in model.parameters())
    source = OneByOne(weights.to_official(random_model())[0])
    whole = Merged([source], "one")
    source.given.clear()
    assert "norm.weight" in whole and "none" not in whole and not source.given
    params = weights.to_official(random_model())[1]
    weights.from_official(whole, params)
    assert len(source.given) == len(source) + 2  # whether the head is the embeddings was asked
    assert source.most <= 2


def test_missing_unused_and_misshapen_names() -> None:
    theirs = twin()
    state = theirs.state_dict()
    del state["model.norm.weight"], state["model.layers.1.mlp.up_proj.weight"]
    state["score.weight"] = torch.ones(2, WIDTH)
    state["model.layers.2.self_attn.k_proj.weight"] = torch.ones(18, WIDTH)
    theirs.state_dict = lambda: state
    with pytest.raises(WeightsError) as error:
        weights.from_hf(theirs)
    said = str(error.value)
    assert "LlamaForCausalLM are not those of this LLaMA" in said
    assert "2 missing: " in said and "model.norm.weight" in said and "layers.1.mlp.up_proj" in said
    assert "1 unused: score.weight" in said
    assert (
        "1 misshapen: model.layers.2.self_attn.k_proj.weight (18, 54) instead of (54, 54)" in said
    )


def test_old_files_hold_the_frequencies_too() -> None:
    theirs = twin()
    state = theirs.state_dict()
    state["model.layers.1.self_attn.rotary_emb.inv_freq"] = torch.ones(9)
    theirs.state_dict = lambda: state
    assert isinstance(weights.from_hf(theirs), LLaMA)


def test_other_models_are_refused() -> None:
    headless = transformers.LlamaModel(transformers.LlamaConfig(**settings()))
    with pytest.raises(WeightsError, match="30 missing: model.embed_tokens.weight"):
        weights.from_hf(headless)
    tiny = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
    with pytest.raises(
        WeightsError, match="type 'bert'; from_hf reads these types: blip, blip-2, clip, ll"
    ):
        weights.from_hf(transformers.BertModel(transformers.BertConfig(**tiny)))


# Configs


def test_what_a_config_leaves_out_is_7b() -> None:
    assert layouts.config_from_hf({}) == LLaMAConfig.preset("7B") == LLaMAConfig()
    assert layouts.config_from_hf(transformers.LlamaConfig().to_dict()) == LLaMAConfig()
    for config in (*PRESETS.values(), LLaMAConfig(9, 12, 1, 2, 1, 5, 1e-4, 77.0, 8)):
        out = layouts.config_to_hf(config)
        assert layouts.config_from_hf(out) == config
        assert layouts.config_from_hf(transformers.LlamaConfig.from_dict(out).to_dict()) == config


def test_both_spellings_of_theta() -> None:
    for said in (
        {"rope_theta": 7.0},
        {"rope_theta": 7.0, "rope_scaling": None},
        {"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}},
        {"rope_parameters": {"rope_theta": 7.0}, "rope_theta": 5.0},
        {"rope_scaling": {"type": "default"}, "rope_theta": 7.0},
    ):
        assert layouts.config_from_hf(said).theta == 7.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rope_scaling": {"type": "dynamic"}, "rope_parameters": None},
            "type 'dynamic'; .* linear",
        ),
        ({"rope_parameters": {"rope_type": "llama3"}}, "no factor; our model needs a number"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 0.5}}, "rope_factor=0.5"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"mlp_bias": True}, "mlp_bias True"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'; our model needs silu"),
        ({"head_dim": 21}, "3 heads of 21 channels: each head needs an even number"),
        ({"num_attention_heads": 4}, "width 54 in 4 heads: each head needs an even number"),
        ({"num_attention_heads": 2}, "width 54 in 2 heads"),
    ],
)
def test_settings_that_our_model_does_not_have(change: dict[str, Any], said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        layouts.config_from_hf(settings() | change)


# The official layout


def official_shards(model: LLaMA, count: int) -> list[Weights]:
    """As the official training code stores its ranks' parts (fairscale's model parallelism)."""
    whole, _ = weights.to_official(model)
    shards: list[Weights] = [{} for _ in range(count)]
    for name, tensor in whole.items():
        last = name.split(".")[-2]
        if tensor.ndim == 1:
            parts = [tensor] * count
        else:
            parts = tensor.chunk(count, dim=1 if last in ("wo", "w2", "tok_embeddings") else 0)
        for shard, part in zip(shards, parts, strict=True):
            shard[name] = part.clone()
    for shard in shards:
        shard["rope.freqs"] = torch.ones(3)
    return shards


def write_official(folder: Path, model: LLaMA, count: int, **params: Any) -> None:
    for i, shard in enumerate(official_shards(model, count)):
        torch.save(shard, folder / f"consolidated.{i:02d}.pth")
    content = weights.to_official(model)[1] | params
    (folder / "params.json").write_text(json.dumps(content))


@pytest.mark.parametrize("kv_heads", [0, 2, 1])
def test_official_in_and_out_gives_the_same_bytes(kv_heads: int) -> None:
    model = random_model(kv_heads=kv_heads, context=50, theta=500.0)
    out, params = weights.to_official(model)
    assert params["dim"] == 24 and params.get("n_kv_heads", 0) == kv_heads
    assert params["rope_theta"] == 500.0 and out["layers.1.attention.wq.weight"].shape == (24, 24)
    assert all(shares(tensor, model) for tensor in out.values())  # our rotation is the official one
    again = weights.from_official(out, params, context=50)
    assert again.config == model.config
    same_bytes(again.state_dict(), model.state_dict())
    same_bytes(weights.to_official(again)[0], out)
    assert not any(shares(p, model) for p in again.parameters())


def test_from_the_official_layout_to_transformers() -> None:
    model = random_model(kv_heads=2)
    official, params = weights.to_official(model)
    state, config = weights.to_transformers(weights.from_official(official, params))
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_dict(config)).eval()
    theirs.load_state_dict(state, strict=True)
    tokens = torch.randint(20, (2, 9))
    with torch.no_grad():
        expected = theirs(tokens).logits
        torch.testing.assert_close(model(tokens), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_official_shards_are_merged(tmp_path: Path, count: int) -> None:
    # Hidden 48 is twice the width: half of the columns of w2 are as many as of the whole width.
    model = random_model(hidden=48)
    write_official(tmp_path, model, count, vocab_size=-1)
    merged = weights.from_official(tmp_path)
    assert merged.config == model.config  # the vocabulary is that of the weights
    same_bytes(merged.state_dict(), model.state_dict())
    half = weights.from_official(str(tmp_path), dtype=torch.float16)
    same_bytes(half.state_dict(), {n: t.half() for n, t in model.state_dict().items()})


def test_embeddings_in_rows_as_llama_3_has_them(tmp_path: Path) -> None:
    model = random_model(kv_heads=2)
    write_official(tmp_path, model, 2)
    for i, rows in enumerate(model.token.weight.detach().chunk(2)):
        file = tmp_path / f"consolidated.{i:02d}.pth"
        torch.save(torch.load(file) | {"tok_embeddings.weight": rows.clone()}, file)
    same_bytes(weights.from_official(tmp_path).state_dict(), model.state_dict())


def test_shards_that_are_missing_or_strange(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no file .*params.json"):
        weights.from_official(tmp_path)
    model = random_model()
    write_official(tmp_path, model, 4)
    (tmp_path / "consolidated.02.pth").unlink()
    with pytest.raises(WeightsError, match="has 3 shards, not all 4"):
        weights.from_official(tmp_path)
    write_official(tmp_path, model, 4)
    strange = torch.load(tmp_path / "consolidated.03.pth")
    torch.save(strange | {"more": torch.ones(1)}, tmp_path / "consolidated.03.pth")
    with pytest.raises(WeightsError, match="have different names"):
        weights.from_official(tmp_path)
    for file in tmp_path.glob("*.pth"):
        file.unlink()
    with pytest.raises(
        WeightsError, match="has no consolidated.safetensors and no consolidated.00.pth"
    ):
        weights.from_official(tmp_path)


class Surprise:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("code was run",))


def test_the_official_loader_is_strict(tmp_path: Path) -> None:
    out, params = weights.to_official(random_model())
    with pytest.raises(WeightsError, match="pass params"):
        weights.from_official(out)
    with pytest.raises(WeightsError, match="params.json has no n_heads"):
        weights.from_official(out, {k: v for k, v in params.items() if k != "n_heads"})
    with pytest.raises(WeightsError, match=r"settings that our LLaMA does not have: moe"):
        weights.from_official(out, params | {"moe": {}})
    with pytest.raises(WeightsError, match="use_scaled_rope but not how much"):
        weights.from_official(out, params | {"use_scaled_rope": True})
    with pytest.raises(WeightsError, match="12 misshapen: layers.0.feed_forward.w1.weight|w1"):
        weights.from_official(out, params | {"multiple_of": 29})
    with pytest.raises(WeightsError, match="1 missing: norm.weight; 1 unused: norms.weight"):
        renamed = {n.replace("norm.weight", "norms.weight") if n == "norm.weight" else n: t
                   for n, t in out.items()}  # fmt: skip
        weights.from_official(renamed, params)
    with pytest.raises(WeightsError, match="no tok_embeddings.weight"):
        weights.from_official({}, params | {"vocab_size": -1})
    (tmp_path / "params.json").write_text(json.dumps(params))
    torch.save({"norm.weight": Surprise()}, tmp_path / "consolidated.00.pth")
    with pytest.raises(WeightsError, match="not a file of plain tensors"):
        weights.from_official(tmp_path)


@pytest.mark.parametrize("hidden", [5, 63, 64, 65, 256, 300, 0])
def test_params_json_says_the_feed_forward_width(hidden: int) -> None:
    """Official code makes it from dim, multiple_of and ffn_dim_multiplier."""
    model = random_model(hidden=hidden)
    out, params = weights.to_official(model)
    width = int(2 * (4 * params["dim"]) / 3)
    if "ffn_dim_multiplier" in params:
        width = int(params["ffn_dim_multiplier"] * width)
    multiple = params["multiple_of"]
    assert multiple * ((width + multiple - 1) // multiple) == model.config.ffn
    assert weights.from_official(out, params).config.ffn == model.config.ffn


def test_published_params_json() -> None:
    """The files beside the released weights, LLaMA-1's and LLaMA-2 70B's."""
    seven = {"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-06}
    vocabulary = {"output.weight": torch.empty(32_000, 1)}
    read = layouts.config_from_official(seven | {"vocab_size": -1}, vocabulary, 2048)
    assert read == LLaMAConfig.preset("7B")
    large = {"dim": 8192, "multiple_of": 256, "n_heads": 64, "n_layers": 80, "norm_eps": 1e-05}
    assert layouts.config_from_official(large, vocabulary, 2048) == LLaMAConfig.preset("65B")
    two = {"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64}
    two |= {"n_kv_heads": 8, "n_layers": 80, "norm_eps": 1e-05, "vocab_size": 32_000}
    config = layouts.config_from_official(two, {}, 4096)
    assert (config.ffn, config.kv_heads, config.context) == (28672, 8, 4096)
