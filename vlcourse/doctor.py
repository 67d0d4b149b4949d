"""``vlcourse doctor``: what is wrong with this environment, and what to do about it.

It must work where little else does, so it imports the standard library only, reads versions from
package metadata, and imports torch and matplotlib in a child process. A check that raises becomes a
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vlcourse import VlcourseError, paths

Status = Literal["ok", "warn", "fail"]

SETUP = "pip install -e .[dev] -c constraints.txt"
PAIR = "pip install --force-reinstall torch torchvision -c constraints.txt"
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
    if not (3, 11) <= sys.version_info[:2] <= (3, 12):
        action = "make a new environment with Python 3.11 or 3.12, then: " + SETUP
        yield Finding("python", "fail", f"{version}; the course needs 3.11 or 3.12", action)
    elif sys.maxsize < 2**32:
        yield Finding(
            "python", "fail", f"{version}, 32-bit", "install a 64-bit Python 3.11 or 3.12"
        )
    elif sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        action = "better: python -m venv .venv, activate it, then: " + SETUP
        yield Finding("python", "warn", f"{version}, outside a virtual environment", action)
    else:
        yield Finding("python", "ok", f"{version} at {sys.executable}")


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
    """What torch can run on, from ``TORCH_PROBE``'s facts; ``driver``: NVIDIA's driver is there."""
    if facts["cuda"]:
        return Finding("accelerator", "ok", f"CUDA: {', '.join(facts['cuda'])}")
    if facts["mps"]:
        return Finding("accelerator", "ok", "Apple GPU (MPS)")
    if driver and facts["built_for_cuda"]:
        detail = f"torch is built for CUDA {facts['built_for_cuda']} but sees no GPU"
        return Finding("accelerator", "warn", detail, "run nvidia-smi; update the NVIDIA driver")
    if driver:
        action = "to use the GPU, install torch's CUDA build"
        return Finding("accelerator", "warn", "an NVIDIA driver, but a CPU build of torch", action)
    return Finding("accelerator", "ok", "none; every lecture is made for a CPU")


def check_cores() -> Iterator[Finding]:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    few = cores < 2
    action = "training cells take about twice the time they state" if few else ""
    yield Finding("cores", "warn" if few else "ok", f"{cores} for this process", action)


def memory_bytes() -> int:
    """Memory this process may use: the machine's, or its container's limit. Bytes."""
    if sys.platform == "win32":
        import ctypes

        class Status(ctypes.Structure):
            _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
                (name, ctypes.c_ulonglong)
                for name in "total free page page_free v v_free x".split()
            ]

        status = Status(length=ctypes.sizeof(Status))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
        return int(status.total)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(limit).read_text().strip() if Path(limit).is_file() else ""
        if text.isdigit():
            total = min(total, int(text))
    return total


def check_memory() -> Iterator[Finding]:
    size = memory_bytes()
    if size < 3.5 * GIB:
        action = "close other programs; take smaller batches: train.batch_size=64"
        yield Finding("memory", "warn", f"{size / GIB:.1f} GiB; 4 are comfortable", action)
    else:
        yield Finding("memory", "ok", f"{size / GIB:.1f} GiB")


def check_disk() -> Iterator[Finding]:
    folder = paths.cache_dir()
    free = shutil.disk_usage(folder).free
    if not os.access(folder, os.W_OK):
        action = "make it writable, or name another folder in VLCOURSE_DATA"
        yield Finding("disk", "fail", f"{folder} cannot be written", action)
    elif free < 2 * GIB:
        action = f"free some space; {folder} and runs/ may be deleted at any time"
        yield Finding("disk", "warn", f"{free / GIB:.1f} GiB free; 2 are comfortable", action)
    else:
        yield Finding("disk", "ok", f"{free / GIB:.0f} GiB free at {folder}")


def check_fonts() -> Iterator[Finding]:
    if installed("matplotlib") is None:
        return  # check_packages says so
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


def constraints() -> dict[str, str]:
    """``constraints.txt`` as {name: version}, from the checkout or the installed package."""
    for folder in (paths.root(), Path(__file__).parent / "_data"):
        file = folder / "constraints.txt"
        if file.is_file():
            pairs = re.findall(r"^([\w.-]+)==([^\s;]+)", file.read_text("utf-8"), re.MULTILINE)
            return {canonical(name): version for name, version in pairs}
    return {}


def canonical(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check_packages() -> Iterator[Finding]:
    try:
        required = metadata.requires("vlcourse") or []
    except metadata.PackageNotFoundError:
        yield Finding("packages", "fail", "vlcourse itself is not installed", SETUP)
        return
    direct = [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    if missing := [name for name in direct if installed(name) is None]:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", SETUP)
    pins = constraints()
    pairs = [(name, installed(name), pin) for name, pin in pins.items()]
    other = [
        f"{name} {have} (stored outputs: {pin})"
        for name, have, pin in pairs
        if have and have != pin
    ]
    if other:
        shown = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        action = "only if a result differs from the stored one: " + SETUP
        yield Finding("packages", "warn", f"other versions: {shown}", action)
    elif not missing:
        known = f"{sum(1 for _, have, _ in pairs if have)} packages as in constraints.txt"
        yield Finding("packages", "ok", known if pins else "all there (no constraints.txt found)")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_cores,
    check_memory,
    check_disk,
    check_fonts,
    check_offline,
)


def examine() -> Iterator[Finding]:
    """Run every check; one that raises becomes a warning of its own."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:
            name = check.__name__.removeprefix("check_")
            text = f"this check did not work: {type(error).__name__}: {error}"
            yield Finding(name, "warn", text, "go on; report it if something else fails too")


def main() -> int:
    """Print the findings as they come; 1 if one is a failure, else 0."""
    worst = 0
    for finding in examine():
        print(finding, flush=True)
        worst |= finding.status == "fail"
    print("Something needs repair; see the arrows." if worst else "Ready.")
    return int(worst)
