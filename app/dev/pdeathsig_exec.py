"""Runs a command that ends with its parent, without the rights of root.

Run as a script, by path, with the standard library alone: it is the first program of a new process and replaces
itself by the given command. On Linux the kernel sends the death signal (PR_SET_PDEATHSIG) when the parent ends,
for whatever reason; elsewhere the script only replaces itself.

    pdeathsig_exec.py PARENT_PID DEATH_SIGNAL same|namespace|nobody COMMAND [ARGUMENT...]

`namespace` maps root to an ordinary user of a new user namespace (files stay where they are and still belong
to root); `nobody` changes to that user permanently. The death signal is set last, because a change of user
clears it.
"""

import ctypes
import os
import sys
from pathlib import Path

NOBODY = 65534
_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_ORDINARY_ID = 1000


def main(arguments: list[str]) -> None:
    parent_pid, death_signal, user, *command = arguments
    if user == "namespace":
        _enter_user_namespace()
    elif user == "nobody":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    if sys.platform == "linux":
        _check(_libc().prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0), "prctl")
        if os.getppid() != int(parent_pid):  # the parent ended before it could be watched
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - this program is a prefix to a command


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check(_libc().unshare(_CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{_ORDINARY_ID} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{_ORDINARY_ID} {gid} 1")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{call} failed")


if __name__ == "__main__":
    main(sys.argv[1:])
