"""Execute a notebook with this very Python, offline, in an empty folder, and clean its outputs."""

from __future__ import annotations

from vlcourse import VlcourseError, paths

import os
import re
import tempfile
from pathlib import Path

import ipykernel.kernelspec
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

import vlcourse
from vlcourse.teach.notebooks.lecture import CHECK

_WIDGET = "application/vnd.jupyter.widget-view+json"


class ExecutionFailed(VlcourseError):
    """A cell failed, or a checked cell's output cannot be the same on another machine."""


class _ThisPython(KernelSpecManager):
    """Every kernel name means ``sys.executable``, whatever kernels the user has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(
            resource_dir=ipykernel.kernelspec.RESOURCES, **ipykernel.kernelspec.get_kernel_dict()
        )


def _manager(folder: Path) -> AsyncKernelManager:
    """A kernel's manager; its channels are sockets in ``folder`` where the system has them."""
    options = {} if os.name == "nt" else {"transport": "ipc"}
    return AsyncKernelManager(
        kernel_name="python3",
        kernel_spec_manager=_ThisPython(),
        connection_file=str(folder / "k.json"),
        **options,
    )


def execute(
    nb: NotebookNode, root: Path, timeout: int, env: dict[str, str] | None = None
) -> NotebookNode:
    """``nb`` executed and cleaned, its metadata as before.

    ``root``: removed from printed paths; ``timeout``: seconds a cell; ``env``: more environment.

    The working folder is new and empty, so a notebook that leans on where it stands fails here.
    """
    meta = dict(nb.metadata)
    with tempfile.TemporaryDirectory(prefix="vlcourse-", dir=paths.sockets_dir()) as place:
        folder = Path(place, "empty")
        folder.mkdir()
        client = NotebookClient(
            nb,
            km=_manager(Path(place)),
            timeout=timeout,
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
            store_widget_state=False,
        )
        try:
            client.execute(cleanup_kc=True, env={**_environment(), **(env or {})})
        except CellTimeoutError as error:
            where = _current(nb)
            raise ExecutionFailed(f"{where} ran longer than {timeout} s") from error
        except CellExecutionError as error:
            said = re.sub(r"\x1b\[[0-9;]*m", "", error.traceback).strip().splitlines()
            raise ExecutionFailed(
                f"{_current(nb)} raised {error.ename}: {error.evalue}\n" + "\n".join(said[-15:])
            ) from error
        except DeadKernelError as error:
            raise ExecutionFailed(f"{_current(nb)} killed the kernel") from error
        nb.metadata = NotebookNode(meta)
        problems = _clean(nb, root, str(folder))
    if problems:
        raise ExecutionFailed("; ".join(problems))
    return nb


def _environment() -> dict[str, str]:
    package = str(Path(vlcourse.__file__).resolve().parent.parent)
    before = os.environ.get("PYTHONPATH", "")
    environment = dict(
        os.environ,
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        PYTHONPATH=os.pathsep.join(p for p in (package, before) if p),
    )
    environment.pop("MPLBACKEND", None)  # the kernel chooses its inline backend
    if not os.access(os.path.expanduser("~"), os.W_OK):  # matplotlib would warn in a checked cell
        environment.setdefault("MPLCONFIGDIR", str(paths.cache_dir("matplotlib")))
    return environment


def _current(nb: NotebookNode) -> str:
    """The code cell that was running: the last one that began."""
    cells = [c for c in nb.cells if c.cell_type == "code"]
    began = [n for n, c in enumerate(cells, 1) if c.execution_count is not None or c.outputs]
    number = max(began, default=1)
    source = cells[number - 1].source.strip().splitlines()
    first = next((s for s in source if s and not s.startswith("#")), "")
    return f"code cell {number} (`{first[:60]}`)"


def _clean(nb: NotebookNode, root: Path, folder: str) -> list[str]:
    """Remove what belongs to one run or one machine; problems where a checked cell relies on it."""
    problems = []
    code = (cell for cell in nb.cells if cell.cell_type == "code")
    for number, cell in enumerate(code, start=1):
        checked = CHECK in cell.source.splitlines()
        kept = []
        for output in cell.outputs:
            noise = output.get("name") == "stderr" or _WIDGET in output.get("data", {})
            changed = noise or _scrub(output, root, folder)
            if checked and changed:
                what = (
                    "writes to stderr or shows a progress bar"
                    if noise
                    else "prints a path or an address"
                )
                problems.append(f"code cell {number} is checked by nbval but {what}")
            if not noise:
                kept.append(output)
        cell.outputs = kept
        if checked and not kept:
            problems.append(f"code cell {number} is checked by nbval but has no output")
    return problems


def _scrub(output: NotebookNode, root: Path, folder: str) -> bool:
    changed = False
    holders = [output] if "text" in output else [output.get("data", {})]
    for holder in holders:
        for key, value in list(holder.items()):
            if isinstance(value, str) and (key == "text" or key.startswith("text/")):
                text = _scrubbed(value, root, folder)
                changed |= text != value
                holder[key] = text
    return changed


def _scrubbed(text: str, root: Path, folder: str) -> str:
    text = re.sub(r"^.*\r(?=[^\n])", "", text, flags=re.MULTILINE)  # what a bar wrote over
    text = re.sub(r"/(?:[\w.\-]+/)*ipykernel_\d+/\d+\.py", "notebook", text)
    for place, name in ((folder, "."), (str(root.resolve()), "."), (str(Path.home()), "~")):
        if len(place) > 1:
            text = text.replace(f"{place}/", "" if name == "." else f"{name}/")
            text = text.replace(place, name)
    return re.sub(r"\b0x[0-9a-f]{6,}\b", "0x…", text)
