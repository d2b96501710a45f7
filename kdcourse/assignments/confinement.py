"""What a process that runs students' code is kept from.

| what | how, on Linux |
|---|---|
| taking memory: `MEMORY` above what Python and PyTorch hold, for each process | RLIMIT_AS |
| memory that no process's limit counts: shared segments, files in memory | seccomp |
| writing: only its reply, of `REPLY` bytes; not even permissions change | a mount namespace, Landlock, seccomp |
| sockets of any kind, and so the network | seccomp, and a network namespace; without both, TCP by Landlock |
| other programs' sockets, in their usual folders | a mount namespace |
| other processes: neither seen nor debugged; its own children end with it | a process namespace; Landlock |
| children and threads | seccomp; without it RLIMIT_NPROC, unless root marks |
| reading | as `sandbox.py` says, which makes the namespaces |

Namespaces need no root, but some systems switch them off, and others have neither. So nothing here fails where it has no
effect: `processes.liberties` finds out, by trying, what an answer can still do on this machine. The time limit holds
everywhere: the marker keeps it. This file is lent to the answer's process: it imports nothing else of the course.
"""

import ctypes
import errno
import os
import socket
import struct
import sys
from pathlib import Path

MEMORY = 1 << 30  # bytes
REPLY = 1_000_000  # bytes
MOUNT_SETATTR, CREATE_RULESET, RESTRICT_SELF = 442, 444, 446  # system calls, the same on every architecture
NO_NEW_PRIVILEGES, SECCOMP, GET_SECCOMP = 38, 22, 21  # prctl's
# Landlock's rights, as bits of its three sets: files, TCP, and what stays within the process.
WRITE_REMOVE_MAKE = sum(1 << right for right in (1, *range(4, 13)))
TRUNCATE = 1 << 14
BIND_AND_CONNECT = 0b11
# System calls that an answer has no use for, by their numbers on x86-64 and on arm64: sockets; memory that no limit counts;
# other processes' memory and keys; another view of the machine; permissions, owners and times of files, which no read-only
# mount guards for the devices that bubblewrap shows.
FORBIDDEN = {
    **{"socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425)},
    **{"shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186), "semget": (64, 190)},
    **{"memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282)},
    **{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271)},
    **{"add_key": (248, 217), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241)},
    **{"clone": (56, 220), "clone3": (435, 435), "fork": (57, 220), "vfork": (58, 220)},  # children, and threads
    **{"mount": (165, 40), "unshare": (272, 97), "setns": (308, 268), "personality": (135, 92)},
    **{"chmod": (90, 53), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452)},
    **{"chown": (92, 54), "fchown": (93, 55), "lchown": (94, 54), "fchownat": (260, 54)},
    **{"utime": (132, 88), "utimes": (235, 88), "futimesat": (261, 88), "utimensat": (280, 88)},
}
PROCESSORS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # as seccomp names them, in the order of the numbers above
OPEN_FILES = 64
SIGNALS_AND_ABSTRACT_SOCKETS = 0b11
SOCKETS = (b"/run", b"/tmp/.X11-unix")


def confine(hidden: list[str] | None) -> None:
    """Hold this process, and what it starts, to the table above; there is no way back.

    hidden: folders to empty for it, where `unshare` has started it; None elsewhere.
    """
    _refuse_sockets()
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (REPLY, REPLY))
    if sys.platform != "linux":
        return
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, held + MEMORY))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    libc = ctypes.CDLL(None)
    if hidden is not None:
        _freeze_mounts(libc, [*SOCKETS, *map(os.fsencode, hidden)])
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _forbid_writing(libc)
    _forbid_calls(libc)


def absent() -> list[str]:
    """What of Linux's own means this system lacks, by name; found by asking it, before anything is run."""
    if sys.platform != "linux":
        return ["namespaces", "Landlock", "seccomp"]
    libc = ctypes.CDLL(None)
    found = {"Landlock": _landlock(libc) >= 1}
    found["seccomp"] = os.uname().machine in PROCESSORS and libc.prctl(GET_SECCOMP, 0, 0, 0, 0) >= 0
    return [name for name, there in found.items() if not there]


def _landlock(libc: ctypes.CDLL) -> int:
    """Its version; below 1 in a kernel before 5.13, and in one that has it switched off."""
    return libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)


def _freeze_mounts(libc: ctypes.CDLL, folders: list[bytes]) -> None:
    """Empty these folders, show its own processes alone, make all mounts read-only, give up the capability to change that."""
    for folder in folders:
        libc.mount(b"none", folder, b"tmpfs", 0, None)
    libc.mount(b"proc", b"/proc", b"proc", 0, None)
    here, recursive, read_only = -100, 0x8000, struct.pack("=4Q", 1, 0, 0, 0)
    libc.syscall(MOUNT_SETATTR, here, b"/", recursive, read_only, ctypes.c_size_t(len(read_only)))
    libc.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24))  # version 3, this process; no capabilities


def _forbid_writing(libc: ctypes.CDLL) -> None:
    """Landlock with no exceptions: a right that is handled and never granted is refused everywhere."""
    version = _landlock(libc)
    if version < 1:
        return
    handled = [WRITE_REMOVE_MAKE | TRUNCATE if version >= 3 else WRITE_REMOVE_MAKE]
    if version >= 4:
        handled.append(BIND_AND_CONNECT)
    if version >= 6:
        handled.append(SIGNALS_AND_ABSTRACT_SOCKETS)
    packed = struct.pack(f"={len(handled)}Q", *handled)
    ruleset = libc.syscall(CREATE_RULESET, packed, ctypes.c_size_t(len(packed)), 0)
    libc.syscall(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _forbid_calls(libc: ctypes.CDLL) -> None:
    """A seccomp filter: the calls in `FORBIDDEN` fail with EPERM, and so does every call by another processor's numbers."""
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    refused, allowed = 0x00050000 | errno.EPERM, 0x7FFF0000
    if (kind := PROCESSORS.get(os.uname().machine)) is None:
        return
    numbers = [call[list(PROCESSORS.values()).index(kind)] for call in FORBIDDEN.values()]
    # (what, where to go if so and if not, value); the places count from the next line. The last line but one allows.
    lines = [
        (load, 0, 0, 4),
        (equal, 0, len(numbers) + 3, kind),
        (load, 0, 0, 0),
        (at_least, len(numbers) + 1, 0, 1 << 30),
    ]
    lines += [(equal, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    lines += [(answer, 0, 0, allowed), (answer, 0, 0, refused)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("@HP", len(lines), ctypes.addressof(code))
    libc.prctl(SECCOMP, 2, ctypes.c_char_p(program), 0, 0)


def _refuse_sockets() -> None:
    """Python's own sockets, for systems that offer nothing firmer."""

    def refuse(*_, **__):
        raise ConnectionRefusedError("an answer has no network")

    socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
    socket.getaddrinfo = refuse
