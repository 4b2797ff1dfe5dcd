"""Who lives how long: no process outlives the parent, whatever killed it."""

import os
import signal
import subprocess
import sys
import unittest

from tests.harness import ROOT, Host, alive, eventually, job

#: A parent that starts everything, and then waits to be killed.
PARENT = """
import signal, sys
from tests.harness import Host, job
host = Host("basic", pool=sys.argv[1], concurrency=2)
children = [host.fork(index) for index in range(2 if sys.argv[1] in ("prefork", "spawn") else 1)]
children[0].run(job(1, "basic.wait_for", "never", 600))
host.note("waiting")
service = host.service()
host.asked(service, "control", 1, "ping", {})
print(host.folder.name, host.process.pid, flush=True)
signal.pause()
"""


def descendants(pid):
    """All processes below `pid`."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        for child in map(int, children.read().split()):
            yield child
            yield from descendants(child)


class Life(unittest.TestCase):
    def test_nobody_outlives_a_parent_that_is_killed(self):
        for pool in ("prefork", "spawn", "threads"):
            with self.subTest(pool):
                command = [sys.executable, "-W", "ignore", "-c", PARENT, pool]
                parent = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
                folder, zygote = parent.stdout.readline().decode().split()
                family = [int(zygote), *descendants(int(zygote))]
                self.assertEqual(len(family), 3 if pool == "threads" else 4)
                parent.kill()
                parent.communicate()
                for pid in family:
                    eventually(lambda pid=pid: not alive(pid), f"the end of {pid}")
                subprocess.run(["rm", "-r", folder], check=True)

    def test_children_and_service_die_with_their_zygote(self):
        with Host() as host:
            idle, busy = host.fork(0), host.fork(1)
            busy.run(job(1, "basic.wait_for", "never", 600))
            host.note("waiting")
            service = host.service()
            host.asked(service, "control", 1, "ping", {})
            family = list(descendants(host.process.pid))
            self.assertEqual(len(family), 3)
            os.kill(host.process.pid, signal.SIGKILL)
            for pid in family:
                eventually(lambda pid=pid: not alive(pid), f"the end of {pid}")
            self.assertIsNone(host.link.receive())
            idle.theirs.close()
            self.assertIsNone(idle.receive())

    def test_stop_kills_what_still_lives_and_exits_in_order(self):
        with Host("ending") as host:
            child = host.fork()
            host.link.send(("stop",))
            self.assertIsNone(host.link.receive())
            self.assertEqual(host.process.wait(60), 0)
            self.assertFalse(alive(child.pid))
            self.assertEqual(host.note("atexit"), "in the zygote")

    def test_a_zygote_holds_nothing_of_a_child_that_has_ended(self):
        with Host() as host:
            host.fork(0)
            fds = f"/proc/{host.process.pid}/fd"
            maps = f"/proc/{host.process.pid}/maps"
            before = len(os.listdir(fds))
            for _ in range(5):
                child = host.fork(1)
                child.send(("exit",))
                host.told("exited", child.pid)
                child.close()
            self.assertEqual(len(os.listdir(fds)), before)
            with open(maps) as text:
                self.assertNotIn("memfd:page", text.read())

    def test_children_do_not_hold_each_other_s_sockets(self):
        with Host() as host:
            first, second = host.fork(0), host.fork(1)
            sockets = [{os.readlink(f"/proc/{child.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child.pid}/fd")}
                       for child in (first, second)]  # fmt: skip
            common = {name for name in sockets[0] & sockets[1] if name.startswith("socket:")}
            self.assertEqual(common, set())

    def test_threads_and_a_timeout_of_the_app_s_do_no_harm(self):
        with Host("threaded") as host:
            child = host.fork()
            child.run(job(1, "threaded.which"))
            self.assertEqual(child.answers(1)[1][3], "['MainThread']")
            os.kill(child.pid, signal.SIGKILL)
            self.assertEqual(host.told("exited", child.pid)[2], -9)


if __name__ == "__main__":
    unittest.main()
