"""The process that has imported the app and forks those that run it."""

import os
import signal

from billiard.context import ForkProcess
from celery import signals

from . import asynchronous, beat, child, process, service, spawn, threads, wire

#: What runs in a forked child, by pool.
POOLS = {"prefork": child.Worker, "solo": child.Solo, "threads": threads.Threads, "asyncio": asynchronous.Asyncio}


class Zygote:
    """Forks what the parent asks for, says who has ended, and ends with the parent."""

    #: Where the kernel has no descriptors for processes: how often to ask for them.
    ASK = 100

    def __init__(self, link, worker, package, given):
        self.link = link
        self.worker = worker
        self.package = package
        self.given = given
        self.watched = {}
        self.beat = beat.Beat(worker, self.let_go) if given.get("beat") else None
        self.spawned = 0

    def run(self):
        process.show_stacks_when_asked()
        process.settle()
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or nobody would know how a child ended
        while True:
            self.wait()
            self.reap()
            if self.readable and not self.obey():
                break

    def wait(self):
        """Returns when the parent has said something, or somebody has ended."""
        poll = wire.poll()
        poll.register(self.link.fileno(), wire.POLLIN)
        for fd in self.watched.values():
            if fd is not None:
                poll.register(fd, wire.POLLIN)
        ready = dict(poll.poll(self.ASK if None in self.watched.values() else None))
        self.readable = self.link.fileno() in ready

    def reap(self):
        for pid in list(self.watched):
            done, status = waited(pid)
            if done:
                fd = self.watched.pop(pid)
                if fd is not None:
                    wire.close(fd)
                self.tell(("exited", pid, status))
                if self.beat and pid == self.beat.pid:
                    self.beat.ended(status)
                    self.keep_beat()

    def obey(self):
        """Does what the parent says next; false when it is time to end."""
        message = self.link.receive()
        if message is None:
            self.kill()
            os._exit(0)
        (kind, *arguments), fds = message
        if kind == "fork":
            self.keep_beat()  # with the first child the parent has begun to work
            pid = self.fork(arguments[0], *fds)
            self.watch(pid)
            self.tell(("forked", arguments[0], pid))
        elif kind == "service":
            self.watch(self.serve(*fds))
        elif kind == "quiet":
            self.quiet()
        elif kind == "stop":
            self.quiet()
            self.kill()
            self.worker.app.loader.shutdown_worker()
        return kind != "stop"

    def fork(self, index, sock, page):
        signals.worker_before_create_process.send(sender=self.worker)
        make = self.spawn if self.worker.pool_name == "spawn" else self.forked
        pid = make(index, sock, page)
        wire.close(sock)
        wire.close(page)
        return pid

    def forked(self, index, sock, page):
        cls = POOLS[self.worker.pool_name]
        target = cls(self.worker, sock, page, os.getpid())
        if cls is child.Worker:
            new = process.pool_process(ForkProcess, target, index)
        else:
            new = ForkProcess(target=target, name="MainProcess")
        return process.forked(new, self.let_go)

    def spawn(self, index, sock, page):
        self.spawned += 1
        known = spawn.known(self.worker, self.given, index, self.spawned)
        try:
            return process.spawned(self.package, (sock, page, known))
        finally:
            wire.close(known)

    def serve(self, sock):
        """Forks the service, whose log lines are those of Celery's main process."""
        target = service.Service(self.worker, sock, os.getpid())
        pid = process.forked(ForkProcess(target=target, name="MainProcess"), self.let_go)
        wire.close(sock)
        return pid

    def tell(self, message):
        try:
            self.link.send(message)
        except OSError:
            pass  # the end of the stream is read next

    def watch(self, pid):
        try:
            self.watched[pid] = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self.watched[pid] = None

    def let_go(self):
        """In a forked process: closes what is the zygote's."""
        self.link.close()
        for fd in self.watched.values():
            if fd is not None:
                wire.close(fd)

    def keep_beat(self):
        if self.beat and self.beat.is_missing():
            self.watch(self.beat.start())

    def quiet(self):
        if self.beat:
            self.beat.stop(self.watched.get(self.beat.pid))

    def kill(self):
        for pid in self.watched:
            os.kill(pid, signal.SIGKILL)


def waited(pid):
    """Whether `pid` has ended, and its exit code; negative is a signal."""
    try:
        done, status = wire.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # the app has SIGCHLD ignored: nobody knows how it ended
        return True, 0
    return bool(done), os.waitstatus_to_exitcode(status) if done else None
