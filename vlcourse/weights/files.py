"""Files of other libraries' weights: safetensors, or state dicts without any other object."""

from __future__ import annotations

import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlcourse.files import write_json
from vlcourse.weights.mappings import unwrapped
from vlcourse.weights.rename import WeightsError
from vlcourse.weights.state import write_weights

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
HF_FILES = ("config.json", SINGLE, INDEX, "model-*-of-*.safetensors")
# open_clip's, in the order in which they are looked for; its settings are in OPENAI_CONFIG.
OPENAI_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                "open_clip_pytorch_model.bin")  # fmt: skip
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
OPENAI_CONFIG = "open_clip_config.json"
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class SafeTensors(Mapping[str, Tensor]):
    """The tensors of safetensors files, each read when it is asked for.

    A tensor is a view of the mapped file: memory is taken by what is kept of it.

    Raises:
        WeightsError: when a file is missing or damaged.
    """

    def __init__(self, *files: Path) -> None:
        self._files: dict[str, Any] = {}
        for file in files:
            _refuse_pointer(file)
            try:
                opened = safe_open(file, "pt")
            except FileNotFoundError:
                raise WeightsError(f"there is no file {file}") from None
            except (SafetensorError, OSError) as error:
                raise WeightsError(f"{file} is damaged: {first_line(error)}") from None
            self._files |= dict.fromkeys(opened.keys(), opened)

    def __getitem__(self, name: str) -> Tensor:
        file = self._files[name]
        try:
            return file.get_tensor(name)
        except (
            SafetensorError,
            OSError,
        ) as error:  # such as numbers of 6 bits, which torch has not
            raise WeightsError(f"{name} cannot be read: {first_line(error)}") from None

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the tensor
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def local(source: str | Path) -> Path:
    """A path on this machine; an unknown ~user stays as it is written.

    Raises:
        WeightsError: when no file can have this name, or it may not be looked at.
    """
    path = Path(os.path.expanduser(source))
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{str(source)[:80]!r} cannot be opened: {first_line(error)}") from None
    return path


def model_folder(source: str | Path, names: Sequence[str] = HF_FILES) -> Path:
    """The folder of a model: a local one, or the hub's, downloaded once.

    Args:
        source: a folder, or a hub id "owner/name".
        names: patterns of the files to fetch from the hub: settings and safetensors.

    Raises:
        WeightsError: when there is no such folder, model or network.
    """
    folder = local(source)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise WeightsError(f"{source} is a file: name its folder, which also has its config.json")
    if isinstance(source, Path) or not _HUB_ID.fullmatch(source):
        raise WeightsError(f"there is no folder {source} (and a hub id is written owner/name)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(source, allow_patterns=list(names)))
    except (RepositoryNotFoundError, HFValidationError):
        raise WeightsError(
            f"there is no folder {source}, and the hub shows no model of that name"
        ) from None
    except (LocalEntryNotFoundError, OSError):  # the hub's connection errors are OSErrors
        raise WeightsError(
            f"there is no folder {source}, and the hub's model of that name is not in the cache "
            "and cannot be downloaded now: connect to the network (and unset HF_HUB_OFFLINE)"
        ) from None


def openai_file(folder: Path) -> Path:
    """The weights in a folder in OpenAI's layout: open_clip's, else the only file of weights.

    Raises:
        WeightsError: when there is none, or several of which none has open_clip's name.
    """
    named = [folder / name for name in OPENAI_FILES if (folder / name).is_file()]
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if named[:1] or len(found) == 1:
        return (named or found)[0]
    said = ", ".join(path.name for path in found[:3]) or "no file of weights"
    raise WeightsError(
        f"{folder} has no {OPENAI_FILES[0]} but {said}: name the file with the weights"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a folder's config.json; :class:`WeightsError` without one."""
    return read_json(folder / "config.json")


def read_sharded(folder: Path) -> SafeTensors:
    """A folder's weights: one safetensors file, or the shards that its index names.

    Raises:
        WeightsError: when there are none, or a shard is missing, damaged or outside the folder.
    """
    if (folder / SINGLE).is_file():
        return SafeTensors(folder / SINGLE)
    if not (folder / INDEX).is_file():
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        found = f", only {pickled[0]}, a pickle that can run code" if pickled else ""
        raise WeightsError(
            f"{folder} has no {SINGLE}{found}: convert it with transformers, "
            "from_pretrained(…).save_pretrained(…), and name the new folder"
        )
    weight_map = read_json(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(v, str) for v in weight_map.values()):
        raise WeightsError(f"{folder / INDEX} has no weight_map of names and files")
    shards = sorted(set(weight_map.values()))
    if any(Path(shard).name != shard or "\0" in shard for shard in shards):
        raise WeightsError(f"{folder / INDEX} names files outside its folder")
    return SafeTensors(*(folder / shard for shard in shards))


def write_sharded(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], shard_bytes: int
) -> None:
    """Write a folder as transformers reads it: config.json and one or several safetensors files.

    It appears complete or not at all.

    Args:
        folder: a new or an empty one.
        weights: names → tensors.
        config: the content of config.json.
        shard_bytes: most bytes of a file (a larger tensor has a file of its own).

    Raises:
        WeightsError: when the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"{folder} exists already: name a new folder, or empty this one")
    from huggingface_hub import split_torch_state_dict_into_shards

    split = split_torch_state_dict_into_shards(dict(weights), max_shard_size=shard_bytes)
    temporary = folder.with_name(f".tmp-{os.getpid()}-{folder.name}")
    temporary.mkdir(parents=True)
    try:
        write_json(temporary / "config.json", dict(config))
        for file, names in split.filename_to_tensors.items():
            write_weights(temporary / file, {name: weights[name] for name in names})
        if split.is_sharded:
            index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
            write_json(temporary / INDEX, index)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_state_dict(path: str | Path) -> Mapping[str, Any]:
    """The state dict in a .safetensors file, or in one that ``torch.save`` wrote.

    The tensors are views of the mapped file, where its format allows. A training checkpoint is
    unwrapped (:func:`unwrapped`).

    Raises:
        WeightsError: when it is missing, damaged, or holds anything but tensors and plain values
            (that is not unpickled; OpenAI's own .pt files are such).
    """
    path = local(path)
    if path.suffix == ".safetensors":
        return unwrapped(SafeTensors(path), str(path))
    _refuse_pointer(path)
    try:
        mapped = zipfile.is_zipfile(path)  # files from before torch 1.6 are not
        program = mapped and _is_torchscript(path)
        weights = None
        if not program:
            weights = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except Exception as error:  # torch.load's errors for bad files are of many types
        raise WeightsError(f"{path} is not a file of plain tensors: {first_line(error)}") from None
    if program:
        raise WeightsError(
            f"{path} is a TorchScript archive, a program and not only weights: if you trust it, "
            "write torch.jit.load(path).state_dict() to a .safetensors file first"
        )
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} holds a {type(weights).__name__}, not a state dict")
    return unwrapped(weights, str(path))


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def first_line(error: Exception) -> str:
    """What an error says, shortened to one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _refuse_pointer(path: Path) -> None:
    """Say so when a file is only a note of Git LFS where the true one is."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError):  # whoever opens it next says what is wrong
        return
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the file itself: run git lfs pull in its folder, "
            "or download the file again"
        )


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; :class:`WeightsError` when it is missing, damaged or no object."""
    _refuse_pointer(path)
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"there is no file {path}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object")
    return content
