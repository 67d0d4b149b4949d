"""The doctor names what is broken, says what to do, and never breaks itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vlcourse import doctor


def package(folder: Path, name: str, version: str, code: str, requires: str = "") -> None:
    """A fake distribution that shadows the real one when ``folder`` comes first on the path."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(text + (f"Requires-Dist: {requires}\n" if requires else ""))


def run_doctor(path: Path | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``vlcourse doctor`` with ``path`` first on the path."""
    variables = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "-m", "vlcourse", "doctor"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def line(output: str, name: str) -> str:
    """The report's line about ``name``, with the arrow line after it if there is one."""
    lines = output.splitlines()
    start = next(i for i, text in enumerate(lines) if text[6:].split()[0] == name)
    arrow = start + 1 < len(lines) and lines[start + 1].lstrip().startswith("->")
    return "\n".join(lines[start : start + 1 + arrow])


def test_a_sound_environment_is_ready() -> None:
    code, out, err = run_doctor()
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "Ready."
    assert line(out, "torch").startswith("ok")


def test_operators_that_do_not_load(tmp_path: Path) -> None:
    package(tmp_path, "torch", "2.15.0", "")
    broken = "raise RuntimeError('operator torchvision::nms does not exist')"
    package(tmp_path, "torchvision", "0.29.2", broken, "torch (>=2.14.0)")
    code, out, err = run_doctor(tmp_path)
    assert (code, err) == (1, "")
    assert line(out, "torch").startswith("fail")
    assert "operator torchvision::nms does not exist" in line(out, "torch")
    assert "-> install a matching pair: pip install" in line(out, "torch")


def test_versions_that_are_no_pair_are_refused_before_the_import(tmp_path: Path) -> None:
    package(tmp_path, "torch", "2.12.1", "import os; os._exit(9)")
    package(tmp_path, "torchvision", "0.29.2", "", "torch (>=2.14.0)")
    code, out, _ = run_doctor(tmp_path)
    assert code == 1
    assert "torch 2.12.1, torchvision 0.29.2 are no pair" in line(out, "torch")
    assert "asks for torch >=2.14.0" in line(out, "torch")


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


def test_a_torch_that_crashes_the_interpreter(tmp_path: Path) -> None:
    package(tmp_path, "torch", "2.15.0", "import os; os.kill(os.getpid(), 11)")
    package(tmp_path, "torchvision", "0.29.2", "")
    code, out, err = run_doctor(tmp_path)
    assert (code, err) == (1, "")
    assert "died with exit code" in line(out, "torch")


def test_matplotlib_and_others_broken_too(tmp_path: Path) -> None:
    for name, version in (("matplotlib", "3.11.2"), ("numpy", "2.4.6"), ("torch", "2.15.0")):
        package(tmp_path, name, version, "raise ImportError('DLL load failed')")
    code, out, err = run_doctor(tmp_path)
    assert (code, err) == (1, "")
    assert "DLL load failed" in line(out, "fonts")
    assert "DLL load failed" in line(out, "torch")
    assert line(out, "cores") and line(out, "memory")


def test_another_version_is_a_warning_with_a_command(tmp_path: Path) -> None:
    package(tmp_path, "einops", "0.8.1", "")
    code, out, _ = run_doctor(tmp_path)
    assert code == 0
    assert line(out, "packages").startswith("warn")
    assert "einops 0.8.1 (stored outputs: " in line(out, "packages")
    assert "-c constraints.txt" in line(out, "packages")


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
    (finding,) = doctor.examine()
    assert (finding.name, finding.status) == ("moon", "warn")
    assert "OSError: too far" in finding.detail and finding.action


def test_wrong_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    (finding,) = doctor.check_python()
    assert finding.status == "fail" and "3.11 or 3.12" in finding.detail


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_bytes", lambda: 2 * doctor.GIB)
    (finding,) = doctor.check_memory()
    assert finding.status == "warn" and "2.0 GiB" in finding.detail and finding.action


@pytest.mark.parametrize(
    ("cuda", "mps", "built", "driver", "status", "text"),
    [
        (["H100"], False, "13.2", True, "ok", "H100"),
        ([], True, None, False, "ok", "Apple"),
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
