"""``vlcourse doctor``: what is wrong with this environment, and what to do about it.

It must work where little else does, so it imports the standard library only, and imports torch and
matplotlib in a child process. Versions are left to ``pip check``. A check that raises becomes a
finding. Nothing contacts the network.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlcourse import VlcourseError, paths

Status = Literal["ok", "warn", "fail"]

SETUP = "pip install -e .[dev] -c constraints.txt"
PAIR = "pip install --force-reinstall torch torchvision -c constraints.txt"
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
PROBE_SECONDS = 180.0
GIB = 2**30

# torchvision's metadata may allow torch versions that its compiled operators refuse ("operator
# torchvision::nms does not exist"), so after the numbers, one operator call is the test.
TORCH_PROBE = """
import json, torch, torchvision
torchvision.ops.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.ones(1), 0.5)
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
print(json.dumps({
    "cuda": [torch.cuda.get_device_name(i) for i in range(count)],
    "built_for_cuda": torch.version.cuda,
    "mps": bool(torch.backends.mps.is_available()),
    "threads": torch.get_num_threads(),
}))
"""

FONT_PROBE = """
import json
from matplotlib import font_manager
print(json.dumps(sorted({font.name for font in font_manager.fontManager.ttflist})))
"""

CJK_FONTS = tuple(
    "Noto Sans CJK,Noto Serif CJK,Noto Sans SC,Source Han Sans,WenQuanYi,PingFang,Heiti,"
    "Droid Sans Fallback,Hiragino Sans GB,Songti,Microsoft YaHei,SimHei,SimSun".split(",")
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``action`` says what to do, and is empty when nothing is."""

    name: str
    status: Status
    detail: str
    action: str = ""

    def __str__(self) -> str:
        line = f"{self.status:<4}  {self.name:<12}  {self.detail}"
        return f"{line}\n{'':20}-> {self.action}" if self.action else line


class ProbeError(VlcourseError):
    """A child process failed; the message is the last line of what it said."""


def probe(code: str, timeout: float = PROBE_SECONDS) -> Any:
    """Run ``code`` in a child of this Python and return the JSON on its last output line.

    Raises:
        ProbeError: the child failed, crashed, hung for ``timeout`` seconds or printed no JSON.
    """
    try:
        child = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise ProbeError(f"gave no answer within {timeout:.0f} s") from None
    if child.returncode:
        said = child.stderr.strip().splitlines() or [f"died with exit code {child.returncode}"]
        raise ProbeError(said[-1])
    try:
        return json.loads(child.stdout.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        raise ProbeError("printed something unexpected") from None


def installed(name: str) -> str | None:
    """The installed version of a distribution, without its local suffix, or None."""
    try:
        return metadata.version(name).split("+")[0]
    except Exception:  # a damaged dist-info raises more than PackageNotFoundError
        return None


def check_python() -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info[:2] not in PYTHONS:
        action = "make a new environment with Python 3.11 to 3.14, then: " + SETUP
        yield Finding("python", "fail", f"{version}; the course needs 3.11 to 3.14", action)
    elif sys.maxsize < 2**32:
        yield Finding("python", "fail", f"{version}, 32-bit", "install a 64-bit Python")
    elif sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        action = "better: python -m venv .venv, activate it, then: " + SETUP
        yield Finding("python", "warn", f"{version}, outside a virtual environment", action)
    else:
        yield Finding("python", "ok", f"{version} at {sys.executable}")


def check_packages() -> Iterator[Finding]:
    """What ``pip check`` finds: packages that are missing or do not go together."""
    if installed("vlcourse") is None:
        yield Finding("packages", "fail", "vlcourse itself is not installed", SETUP)
        return
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    child = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS)
    said = (child.stdout or child.stderr).strip().splitlines()
    if "No module named pip" in child.stderr:
        yield Finding("packages", "warn", "not checked: no pip here", "try: uv pip check")
    elif not child.returncode:
        yield Finding("packages", "ok", "pip check finds no fault")
    else:
        ours = [line for line in said if line.startswith("vlcourse ")]
        shown = "; ".join((ours or said)[:5])
        yield Finding("packages", "fail" if ours else "warn", f"pip check: {shown}", SETUP)


def check_torch() -> Iterator[Finding]:
    versions = {name: installed(name) for name in ("torch", "torchvision")}
    shown = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
    if None in versions.values():
        yield Finding("torch", "fail", shown, SETUP)
        return
    if wanted := unmet_pairing(versions["torch"] or ""):
        detail = f"{shown} are no pair: this torchvision asks for torch {wanted}"
        yield Finding("torch", "fail", detail, f"install a matching pair: {PAIR}")
        return
    try:
        facts = probe(TORCH_PROBE)
    except ProbeError as error:
        detail = f"{shown} do not work together: {error}"
        yield Finding("torch", "fail", detail, f"install a matching pair: {PAIR}")
        return
    yield Finding("torch", "ok", f"{shown}, {facts['threads']} threads")
    yield accelerator(facts, driver=shutil.which("nvidia-smi") is not None)


def unmet_pairing(torch: str) -> str:
    """The torch that torchvision's metadata asks for, if ``torch`` is not that; else empty."""

    def release(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)[:3]]

    asked = [line for line in metadata.requires("torchvision") or [] if re.match(r"torch\W", line)]
    for sign, version in re.findall(r"(==|>=)\s*([\d.]+)", asked[0] if asked else ""):
        here, there = release(torch), release(version)
        if not (here[: len(there)] == there if sign == "==" else here >= there):
            return f"{sign}{version}"
    return ""


def accelerator(facts: dict[str, Any], driver: bool) -> Finding:
    """What torch runs on, from ``TORCH_PROBE``'s facts; ``driver``: NVIDIA's driver is there."""
    asked = os.environ.get("VLCOURSE_DEVICE", "")
    there = {"cpu": True, "cuda": bool(facts["cuda"]), "mps": facts["mps"]}
    if asked and not there.get(asked):
        have = ", ".join(name for name in there if there[name])
        detail = f"VLCOURSE_DEVICE={asked}, but torch has {have} here"
        return Finding("accelerator", "fail", detail, "unset VLCOURSE_DEVICE, or name one of these")
    if facts["cuda"]:
        return Finding("accelerator", "ok", f"CUDA: {', '.join(facts['cuda'])}")
    if facts["mps"]:
        use = "in use" if asked == "mps" else "not used unless you set VLCOURSE_DEVICE=mps"
        return Finding("accelerator", "ok", f"Apple GPU (MPS), {use}")
    if driver and facts["built_for_cuda"]:
        detail = f"torch is built for CUDA {facts['built_for_cuda']} but sees no GPU"
        return Finding("accelerator", "warn", detail, "run nvidia-smi; update the NVIDIA driver")
    if driver:
        action = "to use the GPU, install torch's CUDA build"
        return Finding("accelerator", "warn", "an NVIDIA driver, but a CPU build of torch", action)
    return Finding("accelerator", "ok", "none; every lecture is made for a CPU")


def check_data() -> Iterator[Finding]:
    """The shipped weights, which an own ``VLCOURSE_DATA`` leaves behind."""
    folder = paths.checkpoints_dir()
    if any(folder.glob("*/model.safetensors")):
        yield Finding("data", "ok", f"shipped weights at {folder}")
    elif "VLCOURSE_DATA" in os.environ:
        action = "unset VLCOURSE_DATA; VLCOURSE_CACHE moves the cache alone"
        yield Finding("data", "warn", f"no shipped weights at {folder}: they are trained", action)
    else:
        action = "get it again: git checkout data, or install anew"
        yield Finding("data", "fail", f"no shipped weights at {folder}", action)


def check_cache() -> Iterator[Finding]:
    try:
        folders = {part: paths.cache_dir(part) for part in ("", "datasets", "zoo")}
    except paths.CacheError as error:
        yield Finding("cache", "fail", str(error), "export VLCOURSE_CACHE=/a/folder/of/your/own")
        return
    wanted = next(iter(paths.cache_candidates()), Path("~/.cache"))
    moved = [(wanted / part, place) for part, place in folders.items() if place != wanted / part]
    free = shutil.disk_usage(folders[""]).free / GIB
    if moved:
        detail = f"{moved[0][0]} cannot be written, so {moved[0][1]} is used"
        action = "make it yours, or name a folder of your own: export VLCOURSE_CACHE=FOLDER"
        yield Finding("cache", "warn", detail, action)
    else:
        yield Finding("cache", "ok", str(wanted))
    if free < 2:
        action = f"free some space; {folders['']} and runs/ may be deleted at any time"
        yield Finding("disk", "warn", f"{free:.1f} GiB free; 2 are comfortable", action)
    else:
        yield Finding("disk", "ok", f"{free:.0f} GiB free at {folders['']}")
    if paths.sockets_dir() != Path(tempfile.gettempdir()):
        detail = f"TMPDIR is too long for sockets: they are made in {paths.sockets_dir()}"
        yield Finding("sockets", "ok", detail)


def check_fonts() -> Iterator[Finding]:
    if installed("matplotlib") is None:
        return  # pip check says so
    try:
        names = probe(FONT_PROBE)
    except ProbeError as error:
        action = f"{SETUP} --force-reinstall --no-deps matplotlib"
        yield Finding("fonts", "fail", f"matplotlib does not import: {error}", action)
        return
    found = next((name for name in names if name.startswith(CJK_FONTS)), None)
    none = "no Chinese font for plots; the course's own figures need none"
    yield Finding("fonts", "ok", f"Chinese text in plots: {found}" if found else none)


def check_offline() -> Iterator[Finding]:
    switches = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    on = [f"{name}={os.environ[name]}" for name in switches if os.environ.get(name)]
    # Names only: a proxy's value may hold a password.
    proxies = [name for name in os.environ if re.fullmatch("(?i)(https?|all)_proxy", name)]
    text = (
        f"hub switches: {', '.join(on) or 'none'}; proxies: {', '.join(sorted(proxies)) or 'none'}"
    )
    yield Finding("network", "ok", text + "; the lectures need no network")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_data,
    check_cache,
    check_fonts,
    check_offline,
)


def examine() -> Iterator[Finding]:
    """Run every check; one that raises is a fault of its own: what it looks at is not known."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:
            name = check.__name__.removeprefix("check_")
            text = f"this check did not work: {type(error).__name__}: {error}"
            yield Finding(name, "fail", text, "please report it, with these lines")


def main() -> int:
    """Print the findings as they come; 1 if one is a failure, else 0."""
    worst = 0
    for finding in examine():
        print(finding, flush=True)
        worst |= finding.status == "fail"
    print("Something needs repair; see the arrows." if worst else "Ready.")
    return int(worst)
