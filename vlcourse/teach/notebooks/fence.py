"""What keeps a student's code from the machine it is graded on, as far as the system allows it.

On Linux: no network (a network namespace of its own), no writing outside of its folder (Landlock),
low rights (the user nobody, where the grader is root and nobody can read this library), limits of
memory, processor time, file size and processes. On other systems processor time, or on Windows only
the wall clock, is limited. Without the user nobody, the code may read what the grader may.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
import tempfile
from pathlib import Path

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # linux/sched.h
_RULESET, _RULE, _RESTRICT = 444, 445, 446  # the system calls of linux/landlock.h
_WRITE, _TRUNCATE, _REFER = 1 << 1, 1 << 14, 1 << 13
_CHANGE = _WRITE | 0x1FF0  # and remove or make anything
_FILE_BYTES = 100 * 2**20
_PROCESSES = 256


def close(folder: Path, seconds: float, megabytes: int) -> list[str]:
    """Fence this process in for good; what is fenced, in words. It must have one thread only.

    Args:
        folder: its working folder, home and place of temporary files.
        seconds: of processor time.
        megabytes: of memory, on top of what it has now.
    """
    os.chdir(folder)
    os.environ.update(HOME=str(folder), TMPDIR=str(folder), HF_HUB_OFFLINE="1")
    tempfile.tempdir = None  # so that it is asked for anew
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # input() ends at once, and nothing is printed
        os.dup2(nothing, stream)
    found: list[str] = []
    if os.name != "posix":
        return found
    os.setsid()  # a group of its own, that can be ended as a whole
    if _no_network():
        found.append("without network")
    if _limit(seconds, megabytes):
        found.append(f"at most {megabytes} MB")
    if _low_rights(folder):
        found.append("as the user nobody")
    if _writes_only(folder):
        found.append("writing in its own folder only")
    return found


def _no_network() -> bool:
    if sys.platform != "linux":
        return False
    # Only root may do it directly; anyone else needs a user namespace, where the system has them.
    flags = _NEW_NET if os.geteuid() == 0 else _NEW_NET | _NEW_USER
    return ctypes.CDLL(None, use_errno=True).unshare(flags) == 0


def _limit(seconds: float, megabytes: int) -> bool:
    """Limits that it cannot lift; False where memory has none."""
    import resource

    def limit(kind: int, most: int) -> None:
        with contextlib.suppress(ValueError, OSError):  # a lower limit holds already
            resource.setrlimit(kind, (most, most))

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_CPU, int(seconds) + 1)
    limit(resource.RLIMIT_FSIZE, _FILE_BYTES)
    status = Path("/proc/self/statm")
    if not status.is_file():
        return False
    pages = int(status.read_text().split()[0])
    most = pages * resource.getpagesize() + megabytes * 2**20
    limit(resource.RLIMIT_AS, most)
    return resource.getrlimit(resource.RLIMIT_AS)[0] <= most


def _low_rights(folder: Path) -> bool:
    """Become nobody for good. False, and it stays root, where it is not root, or nobody can read
    this Python, this library or the folder."""
    if os.geteuid() != 0:
        return False
    import pwd
    import resource

    try:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        os.seteuid(nobody.pw_uid)
        for file in (os.__file__, __file__, sys.modules["torch"].__file__ or ""):
            with open(file, "rb"):
                pass
        os.listdir(folder)  # it may stand in a folder that only root may pass
    except (KeyError, OSError):
        os.seteuid(0)
        return False
    os.seteuid(0)
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
    return True


def _writes_only(folder: Path) -> bool:
    """Landlock (Linux 5.13 and later): outside of the folder no file can be written, made or removed,
    and from 6.12 on no other process can be sent a signal."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *arguments: int | bytes) -> int:
        return int(libc.syscall(*(_c(a) for a in (number, *arguments))))

    version = call(_RULESET, 0, 0, 1)
    if version < 1:  # not in this kernel, or switched off
        return False
    rights = _CHANGE | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    scoped = 0b11  # abstract sockets and signals
    attributes = struct.pack("QQQ", rights, 0, scoped)[: 24 if version >= 6 else 8]
    rules = call(_RULESET, attributes, len(attributes), 0)
    for path, allowed in ((folder, rights), (os.devnull, rights & (_WRITE | _TRUNCATE))):
        place = os.open(path, os.O_PATH)
        call(_RULE, rules, 1, struct.pack("=Qi", allowed, place), 0)
        os.close(place)
    libc.prctl(38, *(_c(n) for n in (1, 0, 0, 0)))  # PR_SET_NO_NEW_PRIVS: what Landlock asks for
    done = call(_RESTRICT, rules, 0) == 0
    os.close(rules)
    return done


def _c(value: int | bytes) -> ctypes.c_long | ctypes.c_char_p:
    return ctypes.c_long(value) if isinstance(value, int) else ctypes.c_char_p(value)
