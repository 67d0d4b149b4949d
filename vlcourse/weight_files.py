"""Reading other libraries' weight files: safetensors, or state dicts without any other object."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vlcourse.rename import WeightsError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def model_folder(source: str | Path) -> Path:
    """The folder of a transformers model: a local one, or the hub's, downloaded once.

    Args:
        source: a folder, or a hub id "owner/name". Only config.json and safetensors are fetched.

    Raises:
        WeightsError: when there is no such folder, model or network.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise WeightsError(f"{source} is a file: name its folder, which also has its config.json")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise WeightsError(f"there is no folder {source} (and a hub id is written owner/name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

    names = ["config.json", SINGLE, INDEX, "model-*-of-*.safetensors"]
    try:
        return Path(snapshot_download(source, allow_patterns=names))
    except RepositoryNotFoundError:
        raise WeightsError(
            f"there is no folder {source}, and the hub shows no model of that name"
        ) from None
    except (LocalEntryNotFoundError, OSError):  # the hub's connection errors are OSErrors
        raise WeightsError(
            f"there is no folder {source}, and the hub's model of that name is not in the cache "
            "and cannot be downloaded now: connect to the network (and unset HF_HUB_OFFLINE)"
        ) from None


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's config.json; :class:`WeightsError` without one."""
    return _read_json(folder / "config.json")


def read_sharded(folder: Path) -> dict[str, Tensor]:
    """A folder's weights, from one safetensors file or from the shards that its index names.

    Raises:
        WeightsError: when there are none, or a shard is missing, damaged or outside the folder.
    """
    if (folder / SINGLE).is_file():
        return _read_safetensors(folder / SINGLE)
    if not (folder / INDEX).is_file():
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        found = f", only {pickled[0]}, a pickle that can run code" if pickled else ""
        raise WeightsError(
            f"{folder} has no {SINGLE}{found}: convert it with transformers, "
            "CLIPModel.from_pretrained(…).save_pretrained(…), and name the new folder"
        )
    shards = sorted(set(_read_json(folder / INDEX).get("weight_map", {}).values()))
    if any(Path(shard).name != shard for shard in shards):
        raise WeightsError(f"{folder / INDEX} names files outside its folder")
    weights: dict[str, Tensor] = {}
    for shard in shards:
        weights |= _read_safetensors(folder / shard)
    return weights


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """The state dict in a .safetensors file, or in one that ``torch.save`` wrote.

    Raises:
        WeightsError: when it is missing, damaged, or holds anything but tensors and plain values
            (that is not unpickled; OpenAI's own .pt files are such).
    """
    path = Path(path).expanduser()
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if _is_torchscript(path):
        raise WeightsError(
            f"{path} is a TorchScript archive, a program and not only weights: if you trust it, "
            "write torch.jit.load(path).state_dict() to a .safetensors file first"
        )
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except Exception as error:  # torch.load's errors for bad files are of many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path} is not a file of plain tensors: {reason}") from None
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} holds a {type(weights).__name__}, not a state dict")
    return weights


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged: {error}") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object")
    return content
