"""Files and settings of any content: a model comes out, or one sentence, and nothing else."""

from __future__ import annotations

import json
import math
import struct
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import nn

from vlcourse import VlcourseError, weights
from vlcourse.models.blip import BLIPConfig
from vlcourse.models.blip_vit import BLIPViTConfig
from vlcourse.models.clip import CLIPConfig, TextConfig
from vlcourse.models.llama import LLaMAConfig
from vlcourse.models.med import MEDConfig
from vlcourse.models.seq2seq import Seq2SeqConfig
from vlcourse.models.vit import ViTConfig
from vlcourse.weights import files
from vlcourse.weights.open_clip import config_from_open_clip

FUZZ = settings(
    max_examples=60, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
TOWER = dict(width=16, layers=1, heads=2)
MODELS = {
    "blip": BLIPConfig(
        8,
        BLIPViTConfig(8, 4, **TOWER),
        MEDConfig(20, 7, **TOWER, image_width=16, roles="writer", cls=1, sep=2, dec=18, enc=19),
        ("lm",),
        queue=0,
        momentum=0.0,
    ),
    "clip": CLIPConfig(8, ViTConfig(8, 4, **TOWER), TextConfig(20, 7, **TOWER)),
    "llama": LLaMAConfig(20, 16, 1, 2, 1, 12, tied=True, rope_factor=4.0, rope_context=32),
    "t5": Seq2SeqConfig(20, 16, 1, 1, 2, 8, 12, tied=True),
}
ODD = st.one_of(
    st.none(), st.booleans(), st.text(max_size=6), st.integers(-3, 70), st.floats(),
    st.sampled_from([0, -1, 10**9, 2**63, 10**30, 1e-9, 1e300, math.nan, math.inf, "12", "\ud800"]),
    st.lists(st.integers(-1, 9), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def survives(load: Callable[[], Any]) -> Any:
    """The model, or None after a VlcourseError of one line; any other exception is a failure."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return load()
        except VlcourseError as error:
            said = str(error)
            assert said.encode() and "\n" not in said and len(said) < 2000, said
            return None
        finally:
            assert time.perf_counter() - begin < 20, "it hung"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole folder of each kind of model, with shards."""
    made = {}
    for kind, config in MODELS.items():
        made[kind] = tmp_path_factory.mktemp("models") / kind
        weights.save_hf(config.build(), made[kind], shard_bytes=4000)
        assert weights.from_hf(made[kind]).config == config
    return made


def copied(folder: Path, to: Path, **content: bytes) -> Path:
    """Links to a folder's files, some with another content."""
    to.mkdir(exist_ok=True)
    for path in to.iterdir():
        path.unlink()
    for path in folder.iterdir():
        (to / path.name).symlink_to(path)
    for name, data in content.items():
        place = to / name.replace("__", ".")
        place.unlink(missing_ok=True)
        place.write_bytes(data)
    return to


def paths_of(content: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every key of a config, those inside others too."""
    found: list[tuple[str, ...]] = []
    for key, value in content.items():
        found.append((key,))
        if isinstance(value, dict):
            found += [(key, *rest) for rest in paths_of(value)]
    return found


def changed(content: dict[str, Any], changes: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    content = deepcopy(content)
    for (*parents, last), value in changes:
        place: Any = content
        for key in parents:
            place = place.get(key) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[last] = value
    return content


@pytest.mark.parametrize("kind", MODELS)
@FUZZ
@given(data=st.data())
def test_a_config_with_odd_values(
    kind: str, data: st.DataObject, folders: dict[str, Path], tmp_path: Path
) -> None:
    whole = json.loads((folders[kind] / "config.json").read_text())
    change = st.tuples(st.sampled_from(paths_of(whole)), ODD)
    config = changed(whole, data.draw(st.lists(change, min_size=1, max_size=2)))
    odd = copied(folders[kind], tmp_path / "odd", config__json=json.dumps(config).encode())
    model = survives(lambda: weights.from_hf(odd))
    assert model is None or isinstance(model, nn.Module)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("value", [0, -1, 10**9, 2**80, math.nan, "9", [1], {}, 1.5])
def test_no_number_of_a_config_is_taken_on_trust(
    kind: str, value: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Each number in turn: the model that comes out, if one does, is the one that was saved."""
    whole = json.loads((folders[kind] / "config.json").read_text())
    refused = 0
    for path in paths_of(whole):
        content = json.dumps(changed(whole, [(path, value)])).encode()
        odd = copied(folders[kind], tmp_path / "odd", config__json=content)
        if (model := survives(lambda odd=odd: weights.from_hf(odd))) is None:
            refused += 1
        else:
            assert [p.shape for p in model.parameters()] == [
                p.shape for p in MODELS[kind].build().parameters()
            ]
    assert refused >= 8


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_larger_than_its_file_is_refused_at_once(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """Each size in turn as large as it may be; nothing of that size is made."""
    whole = json.loads((folders[kind] / "config.json").read_text())
    for key, value in (("layers", 1000), ("size", 2**26), ("d_model", 2**26)):
        for path in (p for p in paths_of(whole) if p[-1].endswith(key)):
            if path[-1] == "encoder_hidden_size":  # which transformers' BLIP does not read either
                continue
            content = json.dumps(changed(whole, [(path, value)])).encode()
            odd = copied(folders[kind], tmp_path / "odd", config__json=content)
            begin = time.perf_counter()
            with pytest.raises(
                VlcourseError, match="misshapen|out of range|blocks, but|not a mult|eos_tok"
            ):
                weights.from_hf(odd)
            assert time.perf_counter() - begin < 5, path


OPEN_CLIP = {
    "model_cfg": {
        "embed_dim": 8, "quick_gelu": True,
        "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 8, "patch_size": 4,
                       "mlp_ratio": 4.0, "pool_type": "tok", "output_tokens": False},
        "text_cfg": {"context_length": 7, "vocab_size": 20, "width": 16, "heads": 2, "layers": 1,
                     "mlp_ratio": 4.0, "norm_kwargs": {}, "pool_type": "argmax"},
    },
    "preprocess_cfg": {},
}  # fmt: skip


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(paths_of(OPEN_CLIP)), ODD), min_size=1, max_size=2))
def test_open_clips_settings_with_odd_values(tmp_path: Path, changes: Any) -> None:
    if not (file := tmp_path / "open_clip_model.safetensors").exists():
        save_file(weights.to_openai(MODELS["clip"].build()), file)
        assert config_from_open_clip(OPEN_CLIP) == MODELS["clip"]
    (tmp_path / "open_clip_config.json").write_text(json.dumps(changed(OPEN_CLIP, changes)))
    survives(lambda: weights.from_openai(tmp_path))


OFFICIAL = weights.to_official(LLaMAConfig(20, 16, 1, 2, 1, 12).build())


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(
    ["dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "multiple_of", "hidden_dim",
     "ffn_dim_multiplier", "norm_eps", "rope_theta", "use_scaled_rope", "rope_scaling_factor",
     "rope_high_freq_factor", "head_dim"]), ODD), min_size=1, max_size=3))  # fmt: skip
def test_params_with_odd_values(changes: list[tuple[str, Any]]) -> None:
    state, params = OFFICIAL
    survives(lambda: weights.from_official(state, params | dict(changes)))


NESTED = ["[" * 100_000, '{"a":' * 100_000, '{"hidden_size": 1' + "0" * 5000 + "}", "null", "[]"]
JSON = st.one_of(
    st.binary(max_size=60), st.sampled_from([text.encode() for text in NESTED]),
    st.recursive(ODD, lambda inner: st.lists(inner, max_size=3)
                 | st.dictionaries(st.text(max_size=4), inner, max_size=3), max_leaves=8)
    .map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


@FUZZ
@given(content=JSON, name=st.sampled_from(["config__json", "model__safetensors__index__json"]))
def test_json_files_of_any_content(
    content: bytes, name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    odd = copied(folders["llama"], tmp_path / "odd", **{name: content})
    assert survives(lambda: weights.from_hf(odd)) is None


@FUZZ
@given(
    weight_map=st.one_of(
        ODD,
        st.dictionaries(
            st.text(max_size=5),
            st.one_of(
                ODD, st.sampled_from(["config.json", ".", "..", "/etc/passwd", "a\0b", "x" * 5000])
            ),
        ),
    )
)
def test_an_index_of_any_content(weight_map: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    index = json.dumps({"weight_map": weight_map}).encode()
    odd = copied(folders["llama"], tmp_path / "odd", model__safetensors__index__json=index)
    assert survives(lambda: weights.from_hf(odd)) is None


def broken(whole: bytes, cuts: list[int], values: list[int]) -> bytes:
    data = bytearray(whole)
    for at, value in zip(cuts, values, strict=False):
        data[at % len(data)] = value
    return bytes(data)


WHOLE = weights.to_openai(MODELS["clip"].build())
STATE = save(WHOLE)
PARTS = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "BOOL", "F64", "F8_E4M3", "F8_E8M0",
                               "F4", "F6_E2M3", "C64", "U64", "X", ""]),
     "shape": st.lists(st.sampled_from([0, 1, 2, 16, 2**31, 2**62, -1]), max_size=3),
     "data_offsets": st.lists(st.sampled_from([0, 4, 8, 64, 2**40, -4]), min_size=2, max_size=2)}
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from([*WHOLE, "text.x", "module.a", ""]),
    st.one_of(PARTS, ODD), max_size=4,
)  # fmt: skip


def with_header(header: Any) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(64)


@FUZZ
@given(data=st.one_of(
    st.binary(max_size=80),
    st.integers(0, len(STATE)).map(lambda n: STATE[:n]),
    st.builds(broken, st.just(STATE), st.lists(st.integers(0, 4000), min_size=1, max_size=4),
              st.lists(st.integers(0, 255), min_size=4, max_size=4)),
    HEADERS.map(with_header),
))  # fmt: skip
def test_safetensors_of_any_bytes(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "any.safetensors"
    file.write_bytes(data)
    survives(lambda: weights.from_openai(file, config=MODELS["clip"]))
    survives(lambda: weights.from_openai(file))


def test_a_type_that_torch_has_not(tmp_path: Path) -> None:
    part = {"dtype": "F6_E2M3", "shape": [8], "data_offsets": [0, 6]}
    file = tmp_path / "six_bits.safetensors"
    text = json.dumps({"visual.conv1.weight": part}).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(6))
    with pytest.raises(VlcourseError, match="visual.conv1.weight cannot be read: .*F6_E2M3"):
        weights.from_openai(file)


TENSORS = st.sampled_from([
    torch.ones(2), torch.ones(16, 3, 4, 4), torch.ones(()), torch.ones(0, 10**9), torch.ones(7, 16),
    torch.ones(1).expand(10**6, 10**6), torch.ones(2, 2).to_sparse(), torch.ones(2, device="meta"),
    torch.ones(2, dtype=torch.int8), torch.ones(2, dtype=torch.complex64),
    torch.full((5, 16), math.nan), nn.Parameter(torch.ones(64, 16)),
    torch.ones(10**9, 0, 3, 10**9), torch.ones(2, dtype=torch.bool),
])  # fmt: skip
LAYOUT = list(WHOLE)
NUMBERS = (10**9, "9" * 5000, "¹", "٣", "\ud800")
NAMES = st.one_of(
    st.sampled_from([*LAYOUT, *(f"module.{name}" for name in LAYOUT[:4]), "model", "state_dict"]),
    st.sampled_from([f"transformer.resblocks.{i}.ln_1.weight" for i in NUMBERS]),
    st.text(max_size=5), st.integers(), st.none(), st.tuples(st.integers()),
)  # fmt: skip
STATES = st.recursive(
    st.one_of(TENSORS, ODD),
    lambda inner: st.dictionaries(NAMES, inner, max_size=6) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@FUZZ
@given(content=STATES)
def test_torch_files_of_any_content(content: Any, tmp_path: Path) -> None:
    file = tmp_path / "any.pt"
    torch.save(content, file)
    assert survives(lambda: weights.from_openai(file)) is None
    (tmp_path / "params.json").write_text('{"dim": 16, "n_layers": 1, "n_heads": 2}')
    torch.save(content, tmp_path / "consolidated.00.pth")
    assert survives(lambda: weights.from_official(tmp_path)) is None


@FUZZ
@given(changes=st.lists(st.tuples(st.sampled_from(LAYOUT), st.one_of(TENSORS, ODD)), max_size=3))
def test_a_state_dict_with_odd_tensors(changes: list[tuple[str, Any]]) -> None:
    state = WHOLE | dict(changes)
    said = dict(activation="gelu", image_heads=2, text_heads=2)
    model = survives(lambda: weights.from_openai(state, **said))
    assert changes or model is not None


@FUZZ
@given(data=st.one_of(st.binary(max_size=60), st.lists(st.integers(0, 10**5), max_size=3)))
def test_torch_files_of_any_bytes(data: Any, tmp_path: Path) -> None:
    file = tmp_path / "any.pt"
    if isinstance(data, list):  # a whole file with a few other bytes
        torch.save({"visual.conv1.weight": torch.ones(2)}, file)
        data = broken(file.read_bytes(), data, [0, 255, 7])
    file.write_bytes(data)
    assert survives(lambda: weights.from_openai(file)) is None


def test_a_git_lfs_pointer_is_called_so(folders: dict[str, Path], tmp_path: Path) -> None:
    note = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    for name in ("config.json", min(p.name for p in folders["llama"].glob("*.safetensors"))):
        place = copied(folders["llama"], tmp_path / "odd", **{name.replace(".", "__"): note})
        assert (place / name).read_bytes() == note
        with pytest.raises(VlcourseError, match=f"{name} is a Git LFS pointer.*git lfs pull"):
            weights.from_hf(place)
    for name in ("clip.pt", "clip.safetensors"):
        (tmp_path / name).write_bytes(note)
        with pytest.raises(VlcourseError, match=f"{name} is a Git LFS pointer"):
            weights.from_openai(tmp_path / name)


def test_sources_that_are_no_names(tmp_path: Path) -> None:
    for source in ("~nobody-here/x", "a\0b", "", "x" * 6000, "a/b/c", "--/..", "\ud800"):
        assert survives(lambda source=source: weights.from_hf(source)) is None
        assert survives(lambda source=source: weights.from_openai(source)) is None
        assert survives(lambda source=source: weights.from_official(source)) is None
    with pytest.raises(VlcourseError, match="there is no file"):
        files.read_state_dict(tmp_path / "none.pt")
    with pytest.raises(VlcourseError, match="is not a file of plain tensors|is damaged"):
        files.read_state_dict(tmp_path)
