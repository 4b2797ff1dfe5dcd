"""New processes: forked as billiard does it, or with an interpreter of their own."""

import faulthandler
import gc
import importlib
import os
import pkgutil
import signal
import sys
import traceback

from . import wire


def become(uid, gid, umask):
    """As Celery does before its worker is made; the kernel then forgets whose death is ours, so say it again."""
    from celery import platforms

    if umask is not None:
        os.umask(int(umask, 8 if umask.startswith("0") else 10) if isinstance(umask, str) else umask)
    uid, gid = uid and platforms.parse_uid(uid), gid and platforms.parse_gid(gid)
    # Started again, this is that user already, who may not do it once more.
    if (uid or os.getuid(), gid or os.getgid()) != (os.getuid(), os.getgid()):
        # What Celery's command has imported by now: the new user may not be allowed to read the interpreter's library.
        importlib.import_module("celery.bin.celery")
        platforms.maybe_drop_privileges(uid=uid, gid=gid)
        platforms.set_pdeathsig("SIGKILL")


def leave_terminal():
    """Lets go of where the command was typed: whoever waits there for its end would wait for ours."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    os.close(nothing)


def identity():
    """What the parent is to become, too."""
    umask = os.umask(0)
    os.umask(umask)
    return {"uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "umask": umask}


def die_with(parent):
    """Lets the kernel end this process with the one it was forked from."""
    from celery import platforms

    platforms.set_pdeathsig("SIGKILL")
    if wire.getppid() != parent:
        os._exit(0)


def forked(process, close):
    """Forks a billiard process, which runs its target and ends; `close` lets go of what is not its own."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = wire.fork()
    if pid:
        return pid
    code = 1
    try:
        close()
        code = process._bootstrap()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def show_stacks_when_asked():
    """Not by a handler of Python's, which waits for what runs; whatever is forked from here does so, too."""
    if sys.__stderr__ is not None:
        faulthandler.register(signal.SIGTRAP, file=sys.__stderr__)


def settle():
    """Keeps the collector from writing to pages that children share."""
    gc.freeze()


def pool_process(cls, target, index, number=None):
    """A process of the pool, with the name and the index that Celery gives it."""
    process = cls(target=target)
    process.name = f"SpawnPoolWorker-{number}" if number else process.name.replace("Process", "PoolWorker")
    process.daemon = True
    process.index = index
    return process


def spawned(package, fds):
    """Starts an interpreter that imports the app anew; it inherits `fds`."""
    from billiard.util import _args_from_interpreter_flags

    bootstrap = pkgutil.get_data(__package__, "bootstrap.py").decode()
    handed = [package, *fds]
    for fd in handed:
        os.set_inheritable(fd, True)
    try:
        command = [sys.executable, *_args_from_interpreter_flags(), "-c", bootstrap, *map(str, handed)]
        return os.posix_spawn(sys.executable, command, {**os.environ, "FORKED_BY_MULTIPROCESSING": "1"})
    finally:
        for fd in handed:
            os.set_inheritable(fd, False)
