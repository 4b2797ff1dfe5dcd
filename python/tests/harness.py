"""A parent in Python: it starts a real zygote and speaks with it and its children as the worker does."""

import array
import io
import marshal
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APPS = ROOT / "tests" / "apps"
#: No step of a test takes longer, however busy the machine is.
PATIENCE = 60


def package():
    """A memfd with the package as a zip, as the parent makes it."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in sorted((ROOT / "celeriac").glob("*.py")):
            archive.write(path, f"celeriac/{path.name}")
    fd = os.memfd_create("celeriac")
    os.write(fd, data.getvalue())
    return fd


def dumps(value):
    return marshal.dumps(value, 2)


def rights(fds):
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []


class Link:
    """The parent's side of a stream."""

    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(PATIENCE)

    def send(self, message, fds=()):
        data = dumps(message)
        self.sock.sendmsg([len(data).to_bytes(4, "little") + data], rights(fds))

    def receive(self):
        head = self.exactly(4)
        return head and marshal.loads(self.exactly(int.from_bytes(head, "little")))

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                return None
            data += more
        return data

    def close(self):
        self.sock.close()


class Child:
    """A slot: the socket of a child, its page, and what it has said."""

    def __init__(self, index):
        self.index = index
        self.pid = None
        self.sock, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE)
        self.page_fd = os.memfd_create("page")
        os.ftruncate(self.page_fd, 4096)
        self.page = memoryview(mmap.mmap(self.page_fd, 4096)).cast("Q")

    def send(self, message, fds=()):
        self.sock.sendmsg([dumps(message)], rights(fds))

    def receive(self):
        data = self.sock.recv(65536)
        return marshal.loads(data) if data else None

    def run(self, *jobs):
        """Sends jobs in one packet; bodies that are `int` come from memfds."""
        self.send(("run", jobs))

    def answers(self, count):
        """The next `count` answers, by token."""
        found = {}
        while len(found) < count:
            message = self.receive()
            assert message and message[0] == "done", message
            found.update((answer[0], answer) for answer in message[1])
        return found

    def aim(self, token, signum):
        self.page[3] = token
        os.kill(self.pid, signum)

    def close(self):
        self.sock.close()
        self.theirs.close()


class Host:
    """A zygote with its children, in a folder of its own."""

    def __init__(self, app="basic", argv=None, env=None, start=True, **options):
        self.folder = tempfile.TemporaryDirectory()
        self.log = Path(self.folder.name) / "stderr"
        options.setdefault("argv", argv or ["celery", *(["-A", app] if app else []), "worker"])
        options.setdefault("hostname", "test@here")
        options.setdefault("loglevel", "INFO")
        if app:
            options.setdefault("app", app)
        self.options = options
        self.children = {}
        environment = {**os.environ, "RESULTS": self.folder.name, "PYTHONPATH": str(APPS), **(env or {})}
        ours, theirs = socket.socketpair()
        zip_fd = package()
        stderr = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        bootstrap = (ROOT / "celeriac" / "bootstrap.py").read_text()
        command = [sys.executable, "-c", bootstrap, str(zip_fd), str(theirs.fileno())]
        self.process = subprocess.Popen(
            command, pass_fds=(zip_fd, theirs.fileno()), env=environment, cwd=self.folder.name,
            stdout=subprocess.DEVNULL, stderr=stderr,
        )  # fmt: skip
        os.close(stderr)
        theirs.close()
        os.close(zip_fd)
        self.link = Link(ours)
        self.pending = []
        if start:
            self.report = self.start()

    def start(self):
        self.link.send(("start", self.options))
        kind, *rest = self.link.receive()
        assert kind == "ready", f"{rest}\n{self.stderr()}"
        return rest[0]

    def stderr(self):
        return self.log.read_text()

    def told(self, kind, *beginning):
        """Waits until the zygote says that."""
        while True:
            for message in self.pending:
                if message[: 1 + len(beginning)] == (kind, *beginning):
                    self.pending.remove(message)
                    return message
            message = self.link.receive()
            assert message is not None, self.stderr()
            self.pending.append(message)

    def fork(self, index=0, up=True):
        child = Child(index)
        self.link.send(("fork", index), [child.theirs.fileno(), child.page_fd])
        child.pid = self.told("forked", index)[2]
        if up:
            message = child.receive()
            assert message == ("up", child.pid), f"{message}\n{self.stderr()}"
        self.children[index] = child
        return child

    def service(self):
        ours, theirs = socket.socketpair()
        self.link.send(("service",), [theirs.fileno()])
        theirs.close()
        return Link(ours)

    def asked(self, service, *message):
        """What the service answers to a message with a `seq`."""
        service.send(message)
        kind, seq, ok, value = service.receive()
        assert (kind, seq) == ("answer", message[1])
        return ok, value

    def note(self, name):
        """What a task or a receiver has left for the test."""
        path = Path(self.folder.name) / name
        eventually(path.exists, f"{name}: {self.stderr()}")
        return path.read_text()

    def result(self, task_id):
        """What the file backend has stored."""
        import json

        path = Path(self.folder.name) / "results" / f"celery-task-meta-{task_id}"
        return json.loads(path.read_text()) if path.exists() else None

    def close(self):
        self.link.close()
        for child in self.children.values():
            child.close()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def job(token, name, *args, id=None, body=None, **request):
    """A job of protocol 2; `request` is what its headers add, `kwargs` and `embed` go into the body."""
    kwargs, embed = request.pop("kwargs", {}), request.pop("embed", {})
    import json

    id = id or f"id-{token}"
    headers = {"id": id, "task": name, "root_id": id, "parent_id": None, "group": None, "retries": 0, "lang": "py",
               "argsrepr": repr(args)[:1024], "kwargsrepr": repr(kwargs), "origin": "test", "timelimit": (None, None),
               "reply_to": "", "correlation_id": id, "properties": {"reply_to": "", "correlation_id": id},
               "delivery_info": {"exchange": "", "routing_key": "celery", "priority": 0, "redelivered": False},
               **request}  # fmt: skip
    if body is None:
        body = json.dumps([args, kwargs, embed]).encode()
    return (token, name, id, headers, body, "application/json", "utf-8")


def eventually(condition, what="it"):
    """Waits for what no process tells."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen"
        time.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
