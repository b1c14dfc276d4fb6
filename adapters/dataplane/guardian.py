"""A tiny parent process that sees to it that a program never outlives whoever started it, not even after SIGKILL.

Run as a script with nothing but the standard library: `guardian.py DIRECTORY COMMAND...`. It runs the command and waits
for one of two things: its standard input reaches the end (whoever holds the other side asked for the end, or died), or
the command ends by itself. In the first case it stops the command and removes the directory; in the second the
directory stays, because the log in it says why. Whatever either of them prints goes to that log. It must know nothing
about Headgate or Envoy.

Why not PR_SET_PDEATHSIG alone: Envoy sets it only when hot restart is on, which leaves a file in /dev/shm; it fires
when the starting *thread* ends; and nobody would remove the directory.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_GRACE_S = 2.0
LOG_FILE = "log.txt"


def bind_to_parent() -> Callable[[], None]:
    """Return the function that the child runs before exec: the kernel kills it when this process dies."""
    libc = ctypes.CDLL(None)
    guardian = os.getpid()

    def bind() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guardian:  # it died between fork and prctl: nobody would ever send the signal
            os._exit(1)

    return bind


def stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> int:
    directory, *command = sys.argv[1:]
    log = os.open(Path(directory, LOG_FILE), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    # One thread only, so that code between fork and exec is safe here; it would not be in the daemon.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=bind_to_parent())
    ended = os.pidfd_open(child.pid)
    readable, _, _ = select.select([sys.stdin, ended], [], [])
    if ended in readable:
        return child.wait()
    stop(child)
    shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
