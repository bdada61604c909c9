"""Becomes a command that dies with the process which started it.

python launcher.py PARENT COMMAND [WORD ...]

A trial whose Ray worker is gone would go on unseen, while another one of the same run
is started elsewhere. On Linux the kernel kills it in the moment in which the worker
ends, however it ends.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: str, *command: str) -> None:
    """Does not return; PARENT is the process that the command must not outlive."""
    # A Ray worker blocks Ctrl-C, and what is blocked stays so in a new program.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(parent):  # it is gone already
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
