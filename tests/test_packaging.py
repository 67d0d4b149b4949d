"""One truth about versions, a light import, and no need of a network after set-up."""

from __future__ import annotations

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
from importlib.metadata import Distribution, distributions, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rights import without_rights

from vlcourse import doctor


def project(repo: Path) -> dict:
    return tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["project"]


def ranges(repo: Path) -> dict[str, SpecifierSet]:
    """{name: range} of the base and dev dependencies in pyproject.toml."""
    table = project(repo)
    lines = table["dependencies"] + table["optional-dependencies"]["dev"]
    return {canonicalize_name(r.name): r.specifier for r in map(Requirement, lines)}


def pins(text: str) -> dict[str, str]:
    """{name: version} of every name==version in a constraints or environment file."""
    found = re.findall(r"^(?: *- )?([\w.-]+)==(\S+)$", text, re.MULTILINE)
    assert len(found) == len({canonicalize_name(name) for name, _ in found}), "pinned twice"
    return {canonicalize_name(name): version for name, version in found}


def test_constraints_lie_in_the_ranges(repo: Path) -> None:
    fixed = pins((repo / "constraints.txt").read_text("utf-8"))
    for name, allowed in ranges(repo).items():
        assert name in fixed, f"{name} has no line in constraints.txt"
        assert allowed.contains(fixed[name]), f"{name}=={fixed[name]} is outside {allowed}"
        assert any(s.operator == ">=" for s in allowed), f"{name} has no lower bound"


def test_environment_yml_says_the_same(repo: Path) -> None:
    text = (repo / "environment.yml").read_text("utf-8")
    fixed, conda = pins((repo / "constraints.txt").read_text("utf-8")), pins(text)
    assert conda == {name: fixed[name] for name in ranges(repo)}
    python = re.search(r"- python (\S+)$", text, re.MULTILINE)
    assert python and SpecifierSet(python[1]) == SpecifierSet(project(repo)["requires-python"])
    assert "- --constraint constraints.txt" in text and "- --editable ." in text


def test_constraints_work_on_every_system(repo: Path) -> None:
    fixed = pins((repo / "constraints.txt").read_text("utf-8"))
    assert not [n for n in fixed if n.startswith(("nvidia-", "cuda-")) or n == "triton"]
    assert not [v for v in fixed.values() if "+" in v], "a local version exists on one machine only"


def promised(repo: Path) -> list[str]:
    """The first release of each Python that the metadata promise: ["3.11.0", …]."""
    lines = project(repo)["classifiers"]
    return [f"{line.split()[-1]}.0" for line in lines if re.search(r":: 3\.\d+$", line)]


def test_the_same_pythons_are_promised_everywhere(repo: Path) -> None:
    allowed = SpecifierSet(project(repo)["requires-python"])
    known = [f"3.{minor}.0" for minor in range(8, 20)]
    assert promised(repo) == list(allowed.filter(known))
    minors = [python.removesuffix(".0") for python in promised(repo)]
    ci = (repo / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    lists = re.findall(r"^ +python: \[(.*)\]$", ci, re.MULTILINE)
    assert len(lists) == 2 and all(re.findall(r"[\d.]+", text) == minors for text in lists)
    assert doctor.PYTHONS == tuple((3, int(minor.split(".")[1])) for minor in minors)
    make = (repo / "Makefile").read_text("utf-8")
    low, high = minors[0].replace(".", ", "), minors[-1].replace(".", ", ")
    assert f"({low}) <= sys.version_info[:2] <= ({high})" in make


def pinned_here(repo: Path) -> dict[str, Distribution]:
    """Those pins whose very version is installed: their metadata can be asked offline."""
    fixed = pins((repo / "constraints.txt").read_text("utf-8"))
    here = {canonicalize_name(found.metadata["Name"]): found for found in distributions()}
    same = {n: here[n] for n, v in fixed.items() if n in here and here[n].version == v}
    if len(same) < len(fixed) // 2:
        pytest.skip("this environment was not made with constraints.txt")
    return same


def refused(asks: str, pythons: list[str]) -> list[str]:
    """Those Pythons that a Requires-Python leaves out."""
    return [python for python in pythons if not SpecifierSet(asks).contains(python)]


def test_every_pin_allows_every_promised_python(repo: Path) -> None:
    """Not only the newest release of each: Debian 12 has 3.11.2."""
    assert refused(">=3.11.5", promised(repo)) == ["3.11.0"]
    asked = {
        f"{name}=={found.version}": found.metadata["Requires-Python"] or ""
        for name, found in pinned_here(repo).items()
    }
    narrow = {pin: asks for pin, asks in asked.items() if refused(asks, promised(repo))}
    assert not narrow, "these pins ask for a newer Python than pyproject.toml promises"


# Picked by one system only; the head of constraints.txt says why they have no pin.
UNPINNED = {"appnope", "colorama", "pywinpty", "triton"}
SYSTEMS = (("Linux", "linux", "posix"), ("Darwin", "darwin", "posix"), ("Windows", "win32", "nt"))


def test_what_a_pin_brings_in_is_pinned_on_every_system_and_python(repo: Path) -> None:
    fixed = pins((repo / "constraints.txt").read_text("utf-8"))
    loose, clash, seen = set(), set(), 0
    for name, found in pinned_here(repo).items():
        for line, python, (system, platform, os_name) in itertools.product(
            found.requires or [], promised(repo), SYSTEMS
        ):
            need = Requirement(line)
            there = {
                "python_version": python.removesuffix(".0"),
                "python_full_version": python,
                "platform_system": system,
                "sys_platform": platform,
                "os_name": os_name,
                "extra": "",
            }
            if need.marker and not need.marker.evaluate(there):
                continue
            seen += 1
            other = canonicalize_name(need.name)
            if other not in fixed and not other.startswith(("cuda-", "nvidia-")):
                loose.add(other)
            elif other in fixed and not need.specifier.contains(fixed[other], prereleases=True):
                clash.add(f"{name}: {line}")
    assert seen > 1000
    assert loose <= UNPINNED and not clash


def test_torch_and_torchvision_are_a_known_pair(repo: Path) -> None:
    fixed = pins((repo / "constraints.txt").read_text("utf-8"))
    assert (fixed["torch"][:5], fixed["torchvision"][:5]) == ("2.15.", "0.29.")


# Programs and plug-ins: used, but never imported by our code (tensorboard: torch imports it).
PROGRAMS = {"tensorboard", "jupyterlab", "ipywidgets", "pytest-xdist", "nbval", "ruff", "mypy"}
PROGRAMS |= {"protobuf"}  # sentencepiece's own model files are read with it


def imported(repo: Path, *folders: str) -> set[str]:
    """The distributions that the Python files below ``folders`` import."""
    names = set()
    for file in (path for folder in folders for path in (repo / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    owners = packages_distributions()
    found = {owners[name][0] for name in names - set(sys.stdlib_module_names) if name in owners}
    return {canonicalize_name(name) for name in found} - {"vlcourse"}


def test_what_is_imported_is_declared_and_what_is_declared_is_used(repo: Path) -> None:
    table = project(repo)
    base = {canonicalize_name(Requirement(line).name) for line in table["dependencies"]}
    dev = set(ranges(repo)) - base
    chosen = extras(repo)  # a module that needs one says so; see below
    assert imported(repo, "vlcourse", "lectures") - base - chosen == set(), "imported, not declared"
    assert imported(repo, "tests", "benchmarks") - base - dev == set(), "imported, not declared"
    unused = base - imported(repo, "vlcourse", "lectures") - PROGRAMS
    assert unused == set(), "declared, but no lecture or module imports it"
    assert dev - chosen - imported(repo, "tests", "benchmarks") - PROGRAMS == set(), "not used"


def extras(repo: Path) -> set[str]:
    """The packages that a user may choose to have."""
    named = project(repo)["optional-dependencies"]
    lines = [line for extra, lines in named.items() if extra != "dev" for line in lines]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_what_may_be_missing_is_imported_where_that_is_said(repo: Path) -> None:
    owners, chosen = packages_distributions(), extras(repo)
    for file in (repo / "vlcourse").rglob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        guarded = {
            inner
            for attempt in ast.walk(tree)
            if isinstance(attempt, ast.Try)
            for statement in attempt.body
            for inner in ast.walk(statement)
        }
        for node in set(ast.walk(tree)) - guarded:
            if isinstance(node, ast.Import):
                tops = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                tops = [str(node.module).partition(".")[0]]
            else:
                continue
            needed = {canonicalize_name(owners[top][0]) for top in tops if top in owners}
            assert not needed & chosen, f"{file} imports {needed & chosen} without a way out"


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def test_import_is_light() -> None:
    ours = [seconds("import vlcourse, vlcourse.cli, vlcourse.paths") for _ in range(3)]
    assert min(ours) <= 0.5 * seconds("import torch, torchvision")  # it is a tenth


@pytest.mark.parametrize("module", ["vlcourse", "vlcourse.cli", "vlcourse.doctor"])
def test_import_brings_in_nothing_heavy(module: str) -> None:
    heavy = ("torch", "numpy", "matplotlib", "transformers", "datasets", "IPython", "PIL")
    code = f"import sys, {module}; print([n for n in {heavy} if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_the_set_up_cell_does_not_wait_for_torchvision() -> None:
    """Importing it takes as long as torch; only pictures that are resized need it."""
    modules = "vlcourse.teach.exercise, vlcourse.teach.capstone, vlcourse.zoo"
    code = f"import sys, {modules}; print('torchvision' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"


def without_network(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """A command prefix and an environment in which nothing reaches another machine."""
    for prefix in (["unshare", "-n"], ["unshare", "-rn"]):
        if (
            shutil.which("unshare")
            and not subprocess.run([*prefix, "true"], capture_output=True).returncode
        ):
            return prefix, {}
    guard = """
        import socket
        connect = socket.socket.connect
        def local_only(self, address):
            host = address[0] if isinstance(address, tuple) else "127.0.0.1"
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise OSError(f"the network is cut: {address}")
            return connect(self, address)
        socket.socket.connect = local_only
    """
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(guard))
    return [], {"PYTHONPATH": str(tmp_path)}


MODULES = """
import importlib, pkgutil, vlcourse
for module in pkgutil.walk_packages(vlcourse.__path__, "vlcourse."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.slow
def test_everything_imports_with_the_network_cut(tmp_path: Path) -> None:
    cut_off(["-c", MODULES], tmp_path)


@pytest.mark.slow
def test_a_sound_environment_is_ready_with_the_network_cut(tmp_path: Path) -> None:
    done = cut_off(["-m", "vlcourse", "doctor"], tmp_path)
    assert done.stderr == "" and done.stdout.splitlines()[-1] == "Ready."
    assert re.search(r"^ok +torch ", done.stdout, re.MULTILINE)


def cut_off(command: list[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What Python said without a network; it ended well."""
    prefix, extra = without_network(tmp_path)
    # No HF_* switches here: the code itself must not ask the network at import.
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_OFFLINE")}
    run = [*prefix, sys.executable, *command]
    done = subprocess.run(run, env=kept | extra, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_make_in_a_folder_that_cannot_be_written_says_what_to_do(
    repo: Path, tmp_path: Path
) -> None:
    place = tmp_path / "course"
    place.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repo / name, place)
    place.chmod(0o555)
    done = subprocess.run(
        [*without_rights(), "make", "course"], cwd=place, capture_output=True, text=True
    )
    place.chmod(0o755)
    assert done.returncode != 0
    assert "cannot be written" in done.stderr and "run make in the copy" in done.stderr
    assert not (place / ".venv").exists()
