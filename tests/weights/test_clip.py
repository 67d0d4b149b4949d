"""Weights from transformers and open_clip, in and out: random tiny twins with odd sizes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlcourse import losses, weights
from vlcourse.models.clip import CLIP, CLIPConfig
from vlcourse.models.resnet import ResNetConfig
from vlcourse.models.seq2seq import Seq2Seq
from vlcourse.weights import clip as layouts
from vlcourse.weights.rename import Rule, WeightsError, entries, fill, to_theirs

transformers = pytest.importorskip("transformers")
open_clip = pytest.importorskip("open_clip.model")

ACTIVATIONS = ("quick_gelu", "gelu")
VOCAB, CONTEXT, EMBED = 61, 19, 20


def randomise(model: nn.Module) -> nn.Module:
    """Every parameter and buffer random and of a sensible size, so that each of them matters."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn_like(tensor) * 0.1
                centred_at_one = tensor.ndim == 1 and name.endswith((".weight", "running_var"))
                tensor.copy_(noise.abs() + 1 if centred_at_one else noise)
        model.logit_scale.fill_(math.log(1 / 0.07))
    return model.eval()


def hf_twin(activation: str = "quick_gelu", **text: Any) -> nn.Module:
    shape = dict(
        hidden_size=48, intermediate_size=100, num_attention_heads=3, hidden_act=activation
    )
    config = transformers.CLIPConfig(
        vision_config=shape | dict(num_hidden_layers=7, image_size=15, patch_size=5),
        text_config=shape
        | dict(num_hidden_layers=7, vocab_size=VOCAB, max_position_embeddings=CONTEXT)
        | dict(bos_token_id=VOCAB - 2, eos_token_id=VOCAB - 1, pad_token_id=0)
        | text,
        projection_dim=EMBED,
    )
    return randomise(transformers.CLIPModel(config))


VIT = dict(layers=7, width=48, head_width=16, patch_size=5, image_size=15)
RESNET = dict(layers=(1, 2, 1, 1), width=6, head_width=64, image_size=64)


def open_clip_twin(image: dict[str, Any], activation: str = "quick_gelu", custom=False):
    text = dict(context_length=CONTEXT, vocab_size=VOCAB, width=48, heads=3, layers=7)
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return randomise(kind(EMBED, image, text, quick_gelu=activation == "quick_gelu"))


# What the weights of these sizes do not tell.
HEADS = {"image_heads": 3, "text_heads": 3}
SAID = {**HEADS, "activation": "quick_gelu"}


def batch(size: int, rows: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.zeros(rows, CONTEXT, dtype=torch.long)
    for i in range(rows):
        length = (5, 19, 2, 9, 3, 12)[i]
        tokens[i, :length] = torch.randint(1, VOCAB - 2, (length,), generator=generator)
        tokens[i, 0], tokens[i, length - 1] = VOCAB - 2, VOCAB - 1
    return {"pixels": torch.randn(rows, 3, size, size, generator=generator), "tokens": tokens}


def assert_same_gradients(ours: CLIP, theirs: nn.Module, table: list[Rule]) -> None:
    mine = to_theirs({n: p.grad for n, p in ours.named_parameters() if p.grad is not None}, table)
    other = {n: p.grad for n, p in theirs.named_parameters()}
    assert mine.keys() == other.keys()
    for name, gradient in other.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-4, msg=name)
    assert max(float(g.abs().max()) for g in other.values()) > 1e-2  # they do not vanish


def assert_same_bytes(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_transformers_twin(activation):
    theirs = hf_twin(activation)
    ours = weights.from_hf(theirs)
    assert not ours.training and ours.config.text.activation == activation
    inputs = batch(15)
    out = theirs(input_ids=inputs["tokens"], pixel_values=inputs["pixels"], return_loss=True)
    tokens, pixels = theirs.text_model(inputs["tokens"]), theirs.vision_model(inputs["pixels"])
    text = theirs.text_projection(tokens.pooler_output)
    image = theirs.visual_projection(pixels.pooler_output)
    torch.testing.assert_close(ours.encode_text(inputs["tokens"]), text, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.encode_image(inputs["pixels"]), image, rtol=1e-5, atol=1e-5)
    loss = ours.losses(inputs)["itc"]
    torch.testing.assert_close(loss, out.loss, rtol=1e-5, atol=1e-5)
    loss.backward()
    out.loss.backward()
    assert_same_gradients(ours, theirs, layouts.hf_table())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
def test_open_clip_vit_twin(activation, custom):
    theirs = open_clip_twin(VIT, activation, custom)
    ours = weights.from_openai(theirs.state_dict(), activation=activation, **HEADS)
    check_open_clip(ours, theirs, 15, "text." if custom else "")


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_open_clip_resnet_twin(training):
    theirs = open_clip_twin(RESNET)
    ours = weights.from_openai(theirs.state_dict(), **SAID)
    assert ours.config.image == ResNetConfig(64, (1, 2, 1, 1), 6, 3)
    check_open_clip(ours.train(training), theirs.train(training), 64, "")
    if training:  # the running statistics moved, and alike
        table = layouts.openai_table(ours.config)
        for name, tensor in to_theirs(ours.state_dict(), table).items():
            torch.testing.assert_close(tensor, theirs.state_dict()[name], rtol=1e-5, atol=1e-5)


def check_open_clip(ours: CLIP, theirs: nn.Module, size: int, prefix: str) -> None:
    inputs = batch(size)
    image, text = theirs.encode_image(inputs["pixels"]), theirs.encode_text(inputs["tokens"])
    expected = losses.itc(image, text, theirs.logit_scale.exp())
    loss = ours.losses(inputs)["itc"]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    assert_same_gradients(ours, theirs, layouts.openai_table(ours.config, prefix))
    ours.eval(), theirs.eval()
    for mine, other in (
        (ours.encode_image(inputs["pixels"]), theirs.encode_image(inputs["pixels"])),
        (ours.encode_text(inputs["tokens"]), theirs.encode_text(inputs["tokens"])),
    ):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_transformers_out_and_in_gives_the_same_bytes():
    theirs = hf_twin("gelu")
    out, config = weights.to_transformers(weights.from_hf(theirs))
    assert_same_bytes(out, theirs.state_dict())
    again = transformers.CLIPModel(transformers.CLIPConfig.from_dict(config))
    again.load_state_dict(out, strict=True)
    inputs = batch(15)
    arguments = {"input_ids": inputs["tokens"], "pixel_values": inputs["pixels"]}
    with torch.no_grad():
        assert torch.equal(again.eval()(**arguments)[0], theirs(**arguments)[0])


@pytest.mark.parametrize("image", [VIT, RESNET], ids=["vit", "resnet"])
def test_openai_out_and_in_gives_the_same_bytes(image):
    theirs = open_clip_twin(image)
    model = weights.from_openai(theirs.state_dict(), **SAID)
    assert_same_bytes(weights.to_openai(model), theirs.state_dict())
    again = weights.from_openai(weights.to_openai(model), config=model.config)
    assert again.config == model.config
    assert_same_bytes(again.state_dict(), model.state_dict())
    with torch.no_grad():  # a copy: changing it leaves the source alone
        again.text.token.weight.zero_()
    assert model.text.token.weight.any()


def test_a_resnet_has_no_transformers_layout():
    with pytest.raises(WeightsError, match="no ResNet tower: use to_openai"):
        weights.to_transformers(CLIPConfig(image=ResNetConfig(32, (1, 1, 1, 1), 8, 4)).build())


def test_a_resnet_with_strides_of_its_own_has_no_openai_layout():
    model = CLIPConfig(image=ResNetConfig(32, (1, 1, 1, 1), 8, 4, strides=(1, 2, 1, 1))).build()
    with pytest.raises(WeightsError, match=r"\(1, 2, 1, 1\) has no place in OpenAI's layout"):
        weights.to_openai(model)


def test_openai_files_and_what_else_they_hold(tmp_path: Path):
    theirs = open_clip_twin(VIT).state_dict()
    extras = {"input_resolution": 15, "context_length": CONTEXT, "vocab_size": VOCAB}
    half = {n: t.half() if t.ndim >= 2 else t for n, t in theirs.items()}  # as OpenAI's files are
    half |= {name: torch.tensor(value) for name, value in extras.items()}
    model = weights.from_openai(half, **SAID)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    save_file({n: t.contiguous() for n, t in half.items()}, tmp_path / "clip.safetensors")
    torch.save(half, tmp_path / "clip.pt")
    for file in ("clip.safetensors", "clip.pt"):
        again = weights.from_openai(tmp_path / file, **SAID)
        assert_same_bytes(again.state_dict(), model.state_dict())


def test_the_strict_loader_lists_missing_unused_and_misshapen():
    theirs = open_clip_twin(VIT).state_dict()
    del theirs["visual.ln_pre.bias"]
    theirs["visual.ln_extra.weight"] = torch.ones(48)
    theirs["transformer.resblocks.2.attn.in_proj_weight"] = torch.ones(48, 48)
    with pytest.raises(WeightsError) as error:
        weights.from_openai(theirs, **HEADS)
    said = str(error.value)
    assert "1 missing: visual.ln_pre.bias" in said
    assert "1 unused: visual.ln_extra.weight" in said
    misshapen = "transformer.resblocks.2.attn.in_proj_weight (48, 48) instead of (144, 48)"
    assert f"1 misshapen: {misshapen}" in said


def test_long_lists_are_shortened_and_other_models_are_refused():
    theirs = open_clip_twin(VIT).state_dict()
    block = {n: t for n, t in theirs.items() if not n.startswith("visual.transformer.resblocks.3.")}
    with pytest.raises(WeightsError, match=r"12 missing: visual\.tr.* and 6 more$"):
        weights.from_openai(block, **HEADS)
    with pytest.raises(WeightsError, match="no CLIP in OpenAI's layout: it has no visual.conv1"):
        weights.from_openai({"weight": torch.ones(2)})
    with pytest.raises(
        WeightsError, match="of the type 'bert'; from_hf reads these types: blip, blip-2, clip"
    ):
        tiny = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9)
        weights.from_hf(transformers.BertModel(transformers.BertConfig(**tiny)))
    with pytest.raises(WeightsError, match="of the type 'unknown'"):
        weights.from_hf(nn.Linear(2, 2))


def test_a_failed_fill_leaves_the_model_alone():
    model = nn.Linear(2, 2)
    before = model.weight.clone()
    with pytest.raises(WeightsError, match="1 missing: b"):
        fill(model, {"w": torch.ones(2, 2)}, [Rule("weight", "w"), Rule("bias", "b")])
    assert torch.equal(model.weight, before)


def test_tables_must_name_each_parameter_once():
    with pytest.raises(WeightsError, match=r"bias \(0 rules\)"):
        entries(["weight", "bias"], [Rule("weight", "w")])
    with pytest.raises(WeightsError, match=r"weight \(2 rules\)"):
        entries(["weight"], [Rule("weight", "w"), Rule("*", "v")])
    with pytest.raises(WeightsError, match=r"b \(clashes at w\)"):
        entries(["a", "b"], [Rule("a", "w"), Rule("b", "w")])


def test_fused_rows_may_have_different_sizes():
    """As in grouped-query attention: more query than key rows."""
    attention = nn.ModuleDict({"q": nn.Linear(4, 6), "k": nn.Linear(4, 2), "v": nn.Linear(4, 2)})
    table = [Rule("{q,k,v}.weight", "qkv", "rows"), Rule("{q,k,v}.bias", "b", "rows")]
    out = to_theirs(attention.state_dict(), table)
    assert out["qkv"].shape == (10, 4)
    again = nn.ModuleDict({"q": nn.Linear(4, 6), "k": nn.Linear(4, 2), "v": nn.Linear(4, 2)})
    fill(again, out, table)
    assert_same_bytes(again.state_dict(), attention.state_dict())


def test_shared_parameters_stay_shared():
    with torch.device("meta"):
        model = nn.ModuleDict({"token": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
        model["head"].weight = model["token"].weight
    fill(model, {"wte": torch.randn(5, 3)}, [Rule("token.weight", "wte")])
    assert model["head"].weight is model["token"].weight
    assert model["head"](torch.ones(1, 3)).shape == (1, 5)


@pytest.mark.parametrize("size", ["10MB", "50KB"], ids=["one file", "shards"])
def test_a_saved_folder(tmp_path: Path, size: str):
    theirs = hf_twin()
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 3) == (size == "50KB")
    model = weights.from_hf(str(tmp_path))
    assert_same_bytes(weights.to_transformers(model)[0], theirs.state_dict())
    assert model.config == weights.from_hf(theirs).config


@pytest.mark.parametrize("tied", [True, False], ids=["T5 1.0", "T5 v1.1"])
def test_t5_from_a_model_and_a_folder_and_out_again(tmp_path: Path, tied: bool):
    shape = dict(d_model=24, d_kv=7, d_ff=20, num_layers=2, num_heads=3, vocab_size=VOCAB)
    theirs = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            **shape,
            feed_forward_proj="relu" if tied else "gated-gelu",
            tie_word_embeddings=tied,
            decoder_start_token_id=0,
        )
    ).eval()
    if not tied:  # transformers 5 ties all of them; published weights are not
        theirs.lm_head.weight = nn.Parameter(torch.randn(VOCAB, 24))
    ours = weights.from_hf(theirs)
    assert isinstance(ours, Seq2Seq) and ours.config.tied == tied
    out, _ = weights.to_transformers(ours)
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in out.items())
    weights.save_hf(ours, tmp_path / "ours", shard_bytes=8000)
    again = weights.from_hf(tmp_path / "ours")
    assert again.config == ours.config and len(list((tmp_path / "ours").iterdir())) > 4
    assert_same_bytes(again.state_dict(), ours.state_dict())
    loaded = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "ours").eval()
    inputs, tokens = torch.randint(VOCAB, (2, 2, 9)).unbind(0)
    with torch.no_grad():
        for model in (theirs, loaded):
            logits = model(input_ids=inputs, decoder_input_ids=tokens).logits
            torch.testing.assert_close(ours(inputs, tokens), logits, rtol=1e-5, atol=1e-5)


def test_what_old_files_hold(tmp_path: Path):
    theirs = hf_twin()
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    config["vision_config_dict"] = {"patch_size": 5}
    config["vision_config"] |= {"patch_size": 3, "image_size": [15, 15]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    stored = load_file(tmp_path / "model.safetensors")
    stored["text_model.embeddings.position_ids"] = torch.arange(CONTEXT)[None]
    save_file(stored, tmp_path / "model.safetensors")
    assert weights.from_hf(tmp_path).config == weights.from_hf(theirs).config


def test_what_a_config_leaves_out_is_vit_b32():
    assert layouts.config_from_hf({"model_type": "clip"}) == CLIPConfig.preset("ViT-B/32")
    assert layouts.config_from_hf(transformers.CLIPConfig().to_dict()) == CLIPConfig()
    for name in ("ViT-L/14@336", "ViT-B/16"):
        config = CLIPConfig.preset(name)
        assert layouts.config_from_hf(layouts.config_to_hf(config)) == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text_config": {"eos_token_id": 5}}, "eos_token_id 5; our model needs 2 or 49407"),
        ({"text_config": {"hidden_act": "relu"}}, "has hidden_act 'relu'; .* gelu or quick_gelu"),
        ({"vision_config": {"layer_norm_eps": 1e-6}}, "has layer_norm_eps 1e-06"),
        ({"vision_config": {"image_size": [224, 196]}}, r"image_size \[224, 196\]; .* whole"),
        ({"vision_config": {"num_channels": 1}}, "num_channels 1; our model needs 3"),
    ],
)
def test_settings_that_our_model_does_not_have(change, said):
    with pytest.raises(WeightsError, match=said):
        layouts.config_from_hf({"model_type": "clip"} | change)


def test_sources_that_cannot_be_read(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"only pytorch_model.bin, a pickle .* convert it"):
        weights.from_hf(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not a safetensors file")
    with pytest.raises(WeightsError, match="model.safetensors is damaged"):
        weights.from_hf(tmp_path)
    with pytest.raises(WeightsError, match="is a file: name its folder"):
        weights.from_hf(tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match="there is no folder .*nowhere"):
        weights.from_hf(tmp_path / "nowhere")
    (tmp_path / "model.safetensors").unlink()
    index = {"weight_map": {"logit_scale": "../elsewhere.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="outside its folder"):
        weights.from_hf(tmp_path)


def test_a_hub_id_while_offline_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="not in the cache and cannot be downloaded") as error:
        weights.from_hf("someone/some-clip-that-nobody-has")
    assert "\n" not in str(error.value)


class Surprise:
    """An object whose unpickling would run code."""

    def __reduce__(self):
        return (pytest.fail, ("code was run",))


def test_pickles_are_refused(tmp_path: Path):
    torch.save({"visual.conv1.weight": Surprise()}, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match="clip.pt is not a file of plain tensors"):
        weights.from_openai(tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match="there is no file"):
        weights.from_openai(tmp_path / "none.pt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_torchscript_is_explained(tmp_path: Path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "openai.pt")
    with pytest.raises(WeightsError, match="TorchScript archive.*state_dict"):
        weights.from_openai(tmp_path / "openai.pt")
