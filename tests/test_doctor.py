"""The doctor names what is broken, says what to do, and never breaks itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from vlcourse import doctor, paths


def package(folder: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """A fake distribution that shadows the real one when ``folder`` comes first on the path."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(text + (f"Requires-Dist: {requires}\n" if requires else ""))


def run_doctor(path: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``vlcourse doctor`` with ``path`` first on the path."""
    command = [sys.executable, "-m", "vlcourse", "doctor"]
    variables = os.environ | {"PYTHONPATH": str(path)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def line(output: str, name: str) -> str:
    """The report's line about ``name``, with the arrow line after it if there is one."""
    lines = output.splitlines()
    start = next(i for i, text in enumerate(lines) if text[6:].split()[0] == name)
    arrow = start + 1 < len(lines) and lines[start + 1].lstrip().startswith("->")
    return "\n".join(lines[start : start + 1 + arrow])


def torch_line(monkeypatch: pytest.MonkeyPatch, path: Path) -> str:
    """The same about torch alone, with ``path`` first on the path here and in the child."""
    monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", str(path))
    (finding,) = doctor.check_torch()
    return str(finding)


def test_operators_that_do_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package(tmp_path, "torch", "2.15.0", "")
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    package(tmp_path, "torchvision", "0.29.2", broken, "torch (>=2.14.0)")
    said = torch_line(monkeypatch, tmp_path)
    assert said.startswith("fail") and "operator torchvision::nms does not exist" in said
    assert "-> install a matching pair: pip install" in said


def test_versions_that_are_no_pair_are_refused_before_the_import(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, "torch", "2.12.1", "import os; os._exit(9)")
    package(tmp_path, "torchvision", "0.29.2", "", "torch (>=2.14.0)")
    said = torch_line(monkeypatch, tmp_path)
    assert said.startswith("fail") and "torch 2.12.1, torchvision 0.29.2 are no pair" in said
    assert "asks for torch >=2.14.0" in said


@pytest.mark.parametrize(
    ("asked", "torch", "unmet"),
    [
        ("torch (>=2.14.0)", "2.15.0", ""),
        ("torch (>=2.14.0)", "2.9.1", ">=2.14.0"),
        ("torch==2.11.0", "2.11.0", ""),
        ("torch==2.11.0", "2.11.1", "==2.11.0"),
        ("torch==2.11", "2.11.1", ""),
        ("torchaudio==1.0", "2.11.1", ""),
    ],
)
def test_unmet_pairing(asked: str, torch: str, unmet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: ["numpy", asked])
    assert doctor.unmet_pairing(torch) == unmet


def test_a_torch_that_crashes_the_interpreter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package(tmp_path, "torch", "2.15.0", "import os; os.kill(os.getpid(), 11)")
    package(tmp_path, "torchvision", "0.29.2", "")
    said = torch_line(monkeypatch, tmp_path)
    assert said.startswith("fail") and "died with exit code" in said


def test_matplotlib_and_others_broken_too(tmp_path: Path) -> None:
    for name, version in (("matplotlib", "3.11.2"), ("numpy", "2.4.6"), ("torch", "2.15.0")):
        package(tmp_path, name, version, "raise ImportError('DLL load failed')")
    code, out, err = run_doctor(tmp_path)
    assert (code, err) == (1, "")
    assert "DLL load failed" in line(out, "fonts")
    assert "DLL load failed" in line(out, "torch")
    assert line(out, "cache") and line(out, "network")


@pytest.mark.parametrize(
    ("said", "code", "status", "text"),
    [
        ("No broken requirements found.", 0, "ok", "no fault"),
        ("vlcourse 0.1.0 requires einops, which is not installed.", 1, "fail", "requires einops"),
        ("timm 1.0.1 requires pyyaml, which is not installed.", 1, "warn", "requires pyyaml"),
    ],
)
def test_versions_are_what_pip_check_says(
    said: str, code: int, status: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        assert command[0] == sys.executable and command[-1] == "check"
        return subprocess.CompletedProcess(command, code, said + "\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    (finding,) = doctor.check_packages()
    assert finding.status == status and text in finding.detail
    assert bool(finding.action) == (status != "ok")


def test_without_pip_the_versions_are_not_called_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "python: No module named pip")

    monkeypatch.setattr(subprocess, "run", run)
    (finding,) = doctor.check_packages()
    assert finding.status == "warn" and "not checked" in finding.detail


def cache_lines(monkeypatch: pytest.MonkeyPatch, **variables: str | Path) -> dict[str, str]:
    """What the doctor says of the cache in an environment: {name of the line: its text}."""
    for name in ("VLCOURSE_CACHE", "VLCOURSE_DATA", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    return {finding.name: str(finding) for finding in doctor.check_cache()}


def test_the_cache_and_what_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said = cache_lines(monkeypatch, VLCOURSE_CACHE=tmp_path)
    assert said["cache"].startswith("ok") and str(tmp_path) in said["cache"]
    full = shutil.disk_usage(tmp_path)._replace(free=doctor.GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    said = cache_lines(monkeypatch, VLCOURSE_CACHE=tmp_path)
    assert said["disk"].startswith("warn") and "1.0 GiB free" in said["disk"]


def test_a_checkout_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The cache moves to the user's own folder, and the advice keeps the shipped weights."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(paths, "data_dir", lambda: tmp_path / "file")
    said = cache_lines(monkeypatch, HOME=tmp_path)
    assert said["cache"].startswith("warn")
    assert f"so {tmp_path / '.cache' / 'vlcourse'} is used" in said["cache"]
    assert "VLCOURSE_CACHE=" in said["cache"] and "VLCOURSE_DATA" not in said["cache"]


def test_no_home_and_an_unwritable_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(paths, "in_checkout", lambda: False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    said = cache_lines(monkeypatch)
    assert said["cache"].startswith("warn") and f"so {tmp_path}" in said["cache"]
    said = cache_lines(monkeypatch, VLCOURSE_CACHE=tmp_path / "file" / "x")
    assert said["cache"].startswith("warn") and f"so {tmp_path}" in said["cache"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    said = cache_lines(monkeypatch)
    assert said["cache"].startswith("fail") and "VLCOURSE_CACHE" in said["cache"]


def test_a_part_of_the_cache_that_is_someone_elses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "datasets").write_text("")  # in the way, as a foreign folder is
    said = cache_lines(monkeypatch, VLCOURSE_CACHE=tmp_path / "mine", XDG_CACHE_HOME=tmp_path)
    assert f"{tmp_path / 'mine' / 'datasets'} cannot be written" in said["cache"]


def test_a_long_temporary_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    said = cache_lines(monkeypatch, VLCOURSE_CACHE=tmp_path)
    assert "made in /tmp" in said["sockets"]


def test_a_data_folder_without_the_shipped_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (finding,) = doctor.check_data()
    assert finding.status == "ok"
    monkeypatch.setenv("VLCOURSE_DATA", str(tmp_path))
    (finding,) = doctor.check_data()
    assert finding.status == "warn" and "unset VLCOURSE_DATA" in finding.action


def test_a_proxy_is_named_but_its_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://user:secret@example.invalid:1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (finding,) = doctor.check_offline()
    assert "https_proxy" in finding.detail and "HF_HUB_OFFLINE=1" in finding.detail
    assert "secret" not in str(finding)


def test_a_hanging_import_is_given_up() -> None:
    with pytest.raises(doctor.ProbeError, match="no answer within"):
        doctor.probe("import time; time.sleep(60)", timeout=0.5)


def test_a_check_that_raises_becomes_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_moon() -> None:
        raise OSError("too far")

    monkeypatch.setattr(doctor, "CHECKS", (check_moon,))
    assert doctor.main() == 1, "what could not be looked at is not called ready"
    (finding,) = doctor.examine()
    assert (finding.name, finding.status) == ("moon", "fail")
    assert "OSError: too far" in finding.detail and finding.action


def test_wrong_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 15, 0))
    (finding,) = doctor.check_python()
    assert finding.status == "fail" and "3.11 to 3.14" in finding.detail


@pytest.mark.parametrize(
    ("cuda", "mps", "built", "driver", "status", "text"),
    [
        (["H100"], False, "13.2", True, "ok", "H100"),
        (
            [],
            True,
            None,
            False,
            "ok",
            "Apple GPU (MPS), not used unless you set VLCOURSE_DEVICE=mps",
        ),
        ([], False, None, False, "ok", "CPU"),
        ([], False, None, True, "warn", "CPU build"),
        ([], False, "13.2", True, "warn", "sees no GPU"),
    ],
)
def test_accelerator(
    cuda: list[str], mps: bool, built: str | None, driver: bool, status: str, text: str
) -> None:
    finding = doctor.accelerator({"cuda": cuda, "mps": mps, "built_for_cuda": built}, driver)
    assert finding.status == status and text in finding.detail
    assert bool(finding.action) == (status == "warn")


def test_the_device_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"cuda": [], "mps": True, "built_for_cuda": None}
    monkeypatch.setenv("VLCOURSE_DEVICE", "mps")
    assert "in use" in doctor.accelerator(facts, driver=False).detail
    missing = doctor.accelerator({**facts, "mps": False}, driver=False)
    assert missing.status == "fail" and "torch has cpu here" in missing.detail
