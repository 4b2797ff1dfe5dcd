"""A child: its jobs, its answers, its end."""

import json
import os
import signal
import socket
import time
import unittest

import celery
from billiard.einfo import ExceptionInfo
from celery.exceptions import Reject
from celeriac import answers
from tests.harness import Host, alive, dumps, eventually, job, rights


class Answers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host()
        cls.addClassCleanup(cls.host.close)
        cls.child = cls.host.fork()
        cls.token = 0

    def ran(self, name, *args, **request):
        """The answer to one job, after its token."""
        type(self).token += 1
        self.child.run(job(self.token, name, *args, id=f"{self.id()}", **request))
        return self.child.answers(1)[self.token][1:]

    def stored(self):
        return self.host.result(self.id())

    def test_success_is_told_with_its_repr_and_stored(self):
        state, runtime, first, second, rss = self.ran("basic.add", "2", "3")
        self.assertEqual((state, first, second, rss), ("ok", "'23'", "", 0))
        self.assertGreater(runtime, 0)
        self.assertEqual(self.stored()["result"], "23")
        self.assertEqual(self.child.page[0], 0)
        self.assertEqual(self.child.page[2], self.token)

    def test_failure_is_told_with_its_traceback_and_stored(self):
        state, _, first, second, _ = self.ran("basic.fail", "broken")
        self.assertEqual((state, first), ("failure", "ValueError('broken')"))
        self.assertIn("Traceback (most recent call last)", second)
        self.assertIn("raise ValueError(text)", second)
        self.assertEqual(self.stored()["status"], "FAILURE")

    def test_retry_is_told_with_its_reason(self):
        state, _, first, second, _ = self.ran("basic.again")
        self.assertEqual((state, first), ("retry", "KeyError('gone')"))
        self.assertIn("Traceback", second)
        self.assertEqual(self.stored()["status"], "RETRY")

    def test_ignore_and_reject(self):
        self.assertEqual(self.ran("basic.ignored")[0::2], ("ignore", "", 0))
        self.assertEqual(self.ran("basic.rejected", True)[0::2], ("reject", "no", 0))
        self.assertEqual(self.ran("basic.rejected", True)[3], "requeue")
        state, _, first, second, _ = self.ran("basic.rejected", False)
        self.assertEqual(first, "no")
        if celery.VERSION >= (5, 7):  # the service stores it
            self.assertEqual(state, "refused")
            self.assertIn("raise Reject", second)
        else:
            self.assertEqual((state, second), ("reject", ""))
        self.assertIsNone(self.stored())

    def test_a_reject_by_a_handler_of_the_task_is_one_too(self):
        try:
            raise Reject("no", requeue=True)
        except Reject:
            info = ExceptionInfo()
        self.assertEqual(answers.answer(1, False, info, 0), (1, "reject", 0.0, "no", "requeue", 0))

    def test_a_body_that_cannot_be_decoded_is_internal(self):
        state, _, first, second, _ = self.ran("basic.add", body=b"{")
        self.assertEqual(state, "internal")
        self.assertIn("DecodeError", first)
        self.assertIn("Traceback", second)
        self.assertIsNone(self.stored())

    def test_a_content_type_that_is_not_accepted_is_internal(self):
        type(self).token += 1
        self.child.run((*job(self.token, "basic.noop")[:5], "application/x-python-serialize", "binary"))
        answer = self.child.answers(1)[self.token]
        self.assertEqual(answer[1], "internal")
        self.assertIn("ContentDisallowed", answer[3])

    def test_a_decoded_body_runs_as_it_is(self):
        type(self).token += 1
        self.child.run((*job(self.token, "basic.add")[:4], ([1], {"y": 2}, {}), None, None))
        self.assertEqual(self.child.answers(1)[self.token][3], "3")

    def test_large_bodies_come_by_memfd_in_their_order(self):
        fds, jobs = [], []
        for size in (100_000, 5, 2_000_000):
            type(self).token += 1
            whole = job(self.token, "basic.length", "x" * size)
            body = whole[4]
            if size > 5:
                fds.append(os.memfd_create("body"))
                os.write(fds[-1], body)
                body = len(body)
            jobs.append((*whole[:4], body, *whole[5:]))
        before = len(os.listdir(f"/proc/{self.child.pid}/fd"))
        self.child.send(("run", tuple(jobs)), fds)
        for fd in fds:
            os.close(fd)
        answers = self.child.answers(3)
        self.assertEqual([answers[token][3] for token in sorted(answers)], ["100000", "5", "2000000"])
        self.ran("basic.noop")
        self.assertLessEqual(len(os.listdir(f"/proc/{self.child.pid}/fd")), before, "descriptors are closed")

    def test_answers_that_do_not_fit_one_packet_come_in_several(self):
        first = self.token + 1
        type(self).token += 8
        self.child.run(job(first, "basic.fail", "e" * 40_000))
        answer = self.child.answers(1)[first]
        self.assertLess(len(dumps(("done", (answer,)))), 65536)
        self.assertTrue(answer[4].startswith("Traceback"))
        self.assertIn("\n...\n", answer[4])
        self.child.run(*(job(first + n, "basic.fail", "e" * 6_000) for n in range(1, 8)))
        self.assertEqual(len(self.child.answers(7)), 7)

    def test_the_request_is_what_the_parent_sent(self):
        self.ran("basic.about", stamped_headers=["a"], stamps={"a": [1]}, own="header")
        about = self.stored()["result"]
        self.assertEqual(about["hostname"], "test@here")
        self.assertEqual(about["argv"], ["celery", "-A", "basic", "worker"])
        self.assertEqual((about["name"], about["index"], about["daemon"]), ("ForkPoolWorker-1", 0, True))

    def test_output_is_redirected_into_the_log(self):
        self.ran("basic.say", "hello")
        self.assertRegex(self.host.stderr(), r"WARNING/ForkPoolWorker-1\] hello")
        self.assertRegex(self.host.stderr(), r"basic.say\[[^]]+\]: logged hello")
        self.assertRegex(self.host.stderr(), r"INFO/ForkPoolWorker-1\] Task basic.say\[[^]]+\] succeeded in")

    def test_what_a_task_forks_takes_no_job_and_leaves_the_page(self):
        type(self).token += 1
        self.child.run(job(self.token, "basic.fork_and_return"))
        self.host.note("waiting")
        self.assertEqual((self.child.page[0], self.child.page[2]), (self.token, self.token), "the fork has ended")
        open(os.path.join(self.host.folder.name, "go"), "w").close()
        self.assertEqual(self.child.answers(1)[self.token][1:4:2], ("ok", "'child'"))
        self.assertEqual(self.ran("basic.add", 1, 1)[2], "2")


class Batches(unittest.TestCase):
    def test_answers_of_a_packet_come_together(self):
        with Host() as host:
            child = host.fork()
            child.run(job(99, "basic.noop"))
            child.answers(1)
            child.run(*(job(n + 1, "basic.noop") for n in range(16)))
            kind, answers = child.receive()
            self.assertEqual((kind, [answer[0] for answer in answers]), ("done", list(range(1, 17))))

    def test_an_answer_does_not_wait_for_a_job_that_takes_long(self):
        with Host() as host:
            child = host.fork()
            child.run(job(1, "basic.wait_for", "one", 0.02), job(2, "basic.wait_for", "two"))
            self.assertEqual(child.receive()[1][0][:2], (1, "ok"), "sent when the second began")
            host_note = os.path.join(host.folder.name, "two")
            open(host_note, "w").close()
            self.assertEqual(child.answers(1)[2][1], "ok")

    def test_the_parent_can_ask_for_what_is_done(self):
        with Host() as host:
            child = host.fork()
            child.run(job(1, "basic.noop"), job(2, "basic.wait_for", "two"))
            host.note("waiting")
            self.assertEqual(child.page[0], 2)
            os.kill(child.pid, signal.SIGURG)
            self.assertEqual(child.receive()[1][0][:2], (1, "ok"))
            open(os.path.join(host.folder.name, "two"), "w").close()
            self.assertEqual(list(child.answers(1)), [2])

    def test_what_waits_in_its_packet_behind_a_long_job_is_given_back(self):
        with Host() as host:
            child = host.fork()
            child.run(job(1, "basic.wait_for", "one"), job(2, "basic.noop"), job(3, "basic.noop"))
            host.note("waiting")
            os.kill(child.pid, signal.SIGURG)
            self.assertEqual(child.receive(), ("left", (2, 3)))
            open(os.path.join(host.folder.name, "one"), "w").close()
            self.assertEqual(list(child.answers(1)), [1])
            child.run(job(3, "basic.noop"))
            self.assertEqual(list(child.answers(1)), [3])

    def test_what_a_busy_child_has_not_taken_can_be_taken_back(self):
        with Host() as host:
            child = host.fork()
            child.run(job(1, "basic.wait_for", "one"))
            host.note("waiting")
            child.run(job(2, "basic.noop"))
            self.assertIn(b"basic.noop", child.theirs.recv(65536, socket.MSG_DONTWAIT))
            open(os.path.join(host.folder.name, "one"), "w").close()
            self.assertEqual(list(child.answers(1)), [1])


class Signals(unittest.TestCase):
    def setUp(self):
        self.host = Host()
        self.addCleanup(self.host.close)
        self.child = self.host.fork()

    def busy(self, token):
        self.child.run(job(token, "basic.wait_for", "go"))
        self.host.note("waiting")

    def go(self):
        open(os.path.join(self.host.folder.name, "go"), "w").close()

    def test_a_soft_limit_raises_in_its_task(self):
        self.busy(5)
        self.assertEqual(self.child.page[0], 5)
        self.assertLess(abs(time.monotonic_ns() - self.child.page[1]), 20e9)
        self.child.aim(5, signal.SIGUSR1)
        answer = self.child.answers(1)[5]
        self.assertEqual((answer[1], answer[3]), ("failure", "SoftTimeLimitExceeded()"))

    def test_what_is_aimed_at_another_task_is_ignored(self):
        self.busy(5)
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2, signal.SIGINT):
            self.child.aim(4, signum)
        self.go()
        self.assertEqual(self.child.answers(1)[5][1], "ok")

    def test_an_idle_child_ignores_them_too(self):
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR2):
            self.child.aim(0, signum)
        self.child.run(job(1, "basic.noop"))
        self.assertEqual(self.child.answers(1)[1][1], "ok")

    def test_terminate_ends_the_task_and_the_child(self):
        for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR2):
            with self.subTest(signum):
                child = self.child = self.host.fork(int(signum))
                self.busy(9)
                child.aim(9, signum)
                # Only an older billiard unwinds at USR2.
                self.assertIn(self.host.told("exited", child.pid)[2], (signum, -signum) if signum == 12 else (signum,))
                child.theirs.close()
                self.assertIsNone(child.receive(), "neither an answer nor a farewell")
                os.unlink(os.path.join(self.host.folder.name, "waiting"))
        self.host.note("waited")  # the first two unwound the task
        self.assertIsNone(self.host.result("id-9"))

    def test_the_signals_of_a_terminal_are_the_parents(self):
        self.busy(1)
        for pid in (self.child.pid, self.host.process.pid):
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
                os.kill(pid, signum)
        self.go()
        self.assertEqual(self.child.answers(1)[1][1], "ok")
        self.host.fork(1)


class Patched(unittest.TestCase):
    def test_the_loop_is_billiard_s_which_others_patch(self):
        with Host("patched") as host:
            child = host.fork()
            child.run(job(1, "patched.noop"))
            child.send(("exit",))
            self.assertEqual(child.answers(1)[1][1], "ok")
            self.assertEqual(host.note("workloop"), "entered and left")


class End(unittest.TestCase):
    def ended(self, host, child):
        return host.told("exited", child.pid)[2]

    def test_exit_comes_after_what_was_sent(self):
        with Host("signals") as host:
            child = host.fork()
            child.run(job(1, "signals.noop"))
            child.send(("exit",))
            self.assertEqual(child.answers(1)[1][1], "ok")
            self.assertEqual(child.receive(), ("bye", "exit"))
            self.assertEqual(self.ended(host, child), 0)
            self.assertIn("worker_process_shutdown", host.note("worker_process_shutdown"))

    def test_it_ends_when_nobody_sends(self):
        with Host() as host:
            child = host.fork()
            child.sock.close()
            self.assertEqual(self.ended(host, child), 0)

    def test_max_tasks_gives_the_rest_back(self):
        with Host(max_tasks_per_child=3) as host:
            child = host.fork()
            child.run(*(job(n, "basic.noop") for n in range(1, 6)))
            self.assertEqual(sorted(child.answers(3)), [1, 2, 3])
            self.assertEqual(child.receive(), ("bye", "limit"))
            self.assertEqual(self.ended(host, child), 155)
            self.assertEqual(child.page[2], 3, "what is not answered has not begun")

    def test_max_memory_is_the_peak_in_kib(self):
        with Host(max_memory_per_child=200_000) as host:
            child = host.fork()
            child.run(job(1, "basic.noop"))
            self.assertGreater(child.answers(1)[1][5], 10_000)
            child.run(job(2, "basic.hog", 300_000_000))
            answer = child.answers(1)[2]
            self.assertEqual(answer[1], "ok")
            self.assertGreater(answer[5], 290_000)
            self.assertEqual(child.receive(), ("bye", "limit"))

    def test_a_task_that_exits_ends_its_child(self):
        with Host() as host:
            for index, (name, args, status) in enumerate(
                (("basic.leave", (3,), 3), ("basic.interrupted", (), 0)),
            ):
                child = host.fork(index)
                child.run(job(1, name, *args))
                answer = child.answers(1)[1]
                self.assertEqual(answer[1], "exit")
                self.assertIn("SystemExit(3)" if args else "KeyboardInterrupt()", answer[3])
                self.assertEqual(child.receive(), ("bye", "exit"))
                self.assertEqual(self.ended(host, child), status)

    def test_a_kill_is_reported_with_its_signal(self):
        with Host() as host:
            child = host.fork()
            os.kill(child.pid, signal.SIGKILL)
            self.assertEqual(self.ended(host, child), -9)

    def test_garbage_ends_it(self):
        with Host() as host:
            child = host.fork()
            child.sock.send(b"garbage")
            self.assertEqual(self.ended(host, child), 1)
            eventually(lambda: not alive(child.pid))


if __name__ == "__main__":
    unittest.main()
