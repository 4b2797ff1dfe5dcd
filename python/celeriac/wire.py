"""How messages travel: a stream for the zygote and the service, packets for a child.

What is raw here is taken before the app is imported, since an app may patch ``socket``, ``os`` or ``select``.
"""

import array
import marshal
import os
import select
from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket

try:
    from _socket import MSG_CMSG_CLOEXEC
except ImportError:
    MSG_CMSG_CLOEXEC = 0

close, fork, getppid, pread, waitpid = os.close, os.fork, os.getppid, os.pread, os.waitpid
poll, POLLIN = select.poll, select.POLLIN

FORMAT = 2
PACKET = 64 * 1024
#: As many descriptors as Linux carries in one message.
RIGHTS = CMSG_SPACE(253 * 4)


def dumps(value):
    return marshal.dumps(value, FORMAT)


def descriptors(ancillary):
    """The descriptors that came with a message, in their order."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def opened(fd):
    """A blocking socket on `fd`, whatever the app made of the default timeout."""
    sock = socket(fileno=fd)
    sock.settimeout(None)
    return sock


class Stream:
    """Messages behind their length."""

    def __init__(self, fd):
        self.socket = opened(fd)

    def fileno(self):
        return self.socket.fileno()

    def close(self):
        self.socket.close()

    def send(self, message):
        data = dumps(message)
        self.socket.sendall(len(data).to_bytes(4, "little") + data)

    def receive(self):
        """The next message and its descriptors, or `None` at the end of the stream."""
        fds = []
        head = self._exactly(4, fds)
        body = head and self._exactly(int.from_bytes(head, "little"), fds)
        if not body:
            return None
        return marshal.loads(body), fds

    def _exactly(self, size, fds):
        chunks = []
        while size:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(size, RIGHTS, MSG_CMSG_CLOEXEC)
            except ConnectionError:
                return None
            if not data:
                return None
            fds += descriptors(ancillary)
            chunks.append(data)
            size -= len(data)
        return b"".join(chunks)


class Packets:
    """A message is a packet; what does not fit into it travels as a memfd."""

    def __init__(self, fd):
        self.socket = opened(fd)
        self._buffer = bytearray(PACKET)

    def close(self):
        self.socket.close()

    def send(self, message):
        self.socket.send(dumps(message))

    def receive(self):
        """The next message and its descriptors, or `None` when nobody sends any more."""
        try:
            size, ancillary, _, _ = self.socket.recvmsg_into([self._buffer], RIGHTS, MSG_CMSG_CLOEXEC)
        except OSError:
            return None
        if not size:
            return None
        return marshal.loads(self._buffer), descriptors(ancillary) if ancillary else ()


def body_of(fd, size):
    """What a memfd holds."""
    try:
        return pread(fd, size, 0)
    finally:
        close(fd)
