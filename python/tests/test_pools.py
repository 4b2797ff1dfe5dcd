"""The other pools: an interpreter a child, threads, the main process itself, coroutines."""

import os
import signal
import unittest

from tests.harness import Host, job


class Many(unittest.TestCase):
    """A child that has several jobs in flight."""

    pool = "threads"

    def setUp(self):
        self.host = Host("many", pool=self.pool, concurrency=4)
        self.addCleanup(self.host.close)
        self.child = self.host.fork()

    def finished(self, count):
        """What `count` jobs said, by token: all that began, and their answers."""
        began, answers = set(), {}
        while len(answers) < count:
            kind, *rest = self.child.receive()
            if kind == "began":
                began.add(rest[0])
            else:
                self.assertEqual(kind, "done")
                answers.update((answer[0], answer) for answer in rest[0])
        self.assertLessEqual(set(answers), began)
        return answers

    def result(self, token):
        return self.host.result(f"id-{token}")["result"]


class Threads(Many):
    def test_as_many_at_a_time_as_asked_for(self):
        self.assertEqual((self.host.report["worker"]["processes"], self.host.report["worker"]["jobs"]), (1, 4))
        self.child.run(*(job(n, "many.meet_in_threads", 4) for n in range(1, 5)))
        self.assertEqual({answer[1] for answer in self.finished(4).values()}, {"ok"})
        results = [self.result(n) for n in range(1, 5)]
        self.assertEqual([result[0] for result in results], [f"id-{n}" for n in range(1, 5)])
        self.assertEqual(len({result[1] for result in results}), 4)
        self.assertEqual({result[2] for result in results}, {"MainProcess"})

    def test_there_are_as_many_threads_as_ever_had_jobs_at_once(self):
        self.child.run(*(job(n, "many.meet_in_threads", 2) for n in (1, 2)))
        self.finished(2)
        for token in range(3, 9):
            self.child.run(job(token, "many.about"))
            self.finished(1)
        self.assertLessEqual({self.result(n)["thread"] for n in range(3, 9)}, {"Task-1", "Task-2"})

    def test_a_task_that_exits_ends_alone(self):
        self.child.run(job(1, "many.leave"), job(2, "many.about"))
        answers = self.finished(2)
        self.assertEqual((answers[1][1], answers[1][3], answers[2][1]), ("internal", "SystemExit(3)", "ok"))

    def test_exit_waits_for_what_runs(self):
        self.child.run(*(job(n, "many.meet_in_threads", 2) for n in (1, 2)))
        self.child.send(("exit",))
        self.finished(2)
        self.assertEqual(self.child.receive(), ("bye", "exit"))
        self.assertEqual(self.host.told("exited", self.child.pid)[2], 0)


class Asyncio(Many):
    pool = "asyncio"

    def test_coroutines_run_together_and_see_their_request(self):
        self.child.run(*(job(n, "many.meet", 4, retries=n) for n in range(1, 5)))
        self.assertEqual({answer[1] for answer in self.finished(4).values()}, {"ok"})
        self.assertEqual([self.result(n) for n in range(1, 5)], [[f"id-{n}", n, "EventLoop"] for n in range(1, 5)])
        self.assertEqual(self.host.note("process_init"), "MainProcess")

    def test_retries_see_what_a_coroutine_raises(self):
        self.child.run(job(1, "many.flaky"))
        answer = self.finished(1)[1]
        self.assertEqual(answer[1:4:2], ("retry", "KeyError('id-1')"))

    def test_what_is_no_coroutine_runs_in_a_thread(self):
        self.child.run(job(1, "many.about"))
        self.finished(1)
        self.assertTrue(self.result(1)["thread"].startswith("Task"))

    def cancelled(self, name, kind, argument=None):
        self.child.run(job(1, name, "it"))
        self.host.note("it-sleeps")
        self.child.send(("cancel", 1, kind, argument))
        return self.finished(1)[1]

    def test_a_soft_limit_cancels(self):
        self.assertEqual(self.cancelled("many.sleeper", "soft")[1:4:2], ("failure", "SoftTimeLimitExceeded()"))
        self.assertTrue(os.path.exists(os.path.join(self.host.folder.name, "it-woke")), "its cleanup has run")

    def test_a_task_may_end_in_time(self):
        self.assertEqual(self.cancelled("many.listener", "soft")[1:4:2], ("ok", "'in time'"))

    def test_a_hard_limit(self):
        self.assertEqual(self.cancelled("many.sleeper", "hard", 1.5)[1:4:2], ("failure", "TimeLimitExceeded(1.5)"))
        self.assertEqual(self.host.result("id-1")["result"]["exc_type"], "TimeLimitExceeded")

    def test_a_revoke_leaves_the_result_to_the_parent(self):
        self.assertEqual(self.cancelled("many.sleeper", "revoke")[1], "ignore")
        self.assertIsNone(self.host.result("id-1"))

    def test_a_cancel_for_what_does_not_run_is_ignored(self):
        self.child.send(("cancel", 77, "soft", None))
        self.child.run(job(1, "many.about"))
        self.assertEqual(self.finished(1)[1][1], "ok")


class OneAtATime(unittest.TestCase):
    def about(self, host, child, token=1):
        child.run(job(token, "many.about"), job(token + 1, "many.own_import"))
        child.answers(2)
        return host.result(f"id-{token}")["result"], host.result(f"id-{token + 1}")["result"]

    def test_spawn_imports_the_app_anew(self):
        with Host("many", pool="spawn", concurrency=2, settings=["task.time_limit=44"]) as host:
            self.assertEqual((host.report["worker"]["pool"], host.report["worker"]["processes"]), ("spawn", 2))
            self.assertIn("2 (spawn)", host.report["banner"])
            first, second = host.fork(0), host.fork(1)
            about, own = self.about(host, first)
            self.assertEqual(about["name"], "SpawnPoolWorker-1")
            self.assertEqual((about["execv"], about["daemon"], about["conf"]), ("1", True, [44, 21]))
            self.assertTrue(own)
            self.assertEqual(self.about(host, second, 3)[0]["name"], "SpawnPoolWorker-2")
            self.assertIn("INFO/SpawnPoolWorker-2] Task many.about", host.stderr())
            first.send(("exit",))
            self.assertEqual(host.told("exited", first.pid)[2], 0)
            os.kill(second.pid, signal.SIGKILL)
            self.assertEqual(host.told("exited", second.pid)[2], -9)

    def test_prefork_does_not(self):
        with Host("many", concurrency=2) as host:
            about, own = self.about(host, host.fork())
            self.assertEqual((about["execv"], about["daemon"], own), (None, True, False))

    def test_solo_is_the_main_process_to_its_tasks(self):
        with Host("many", pool="solo", max_tasks_per_child=1) as host:
            child = host.fork()
            about, _ = self.about(host, child)
            self.assertEqual((about["name"], about["daemon"]), ("MainProcess", False))
            self.assertEqual(host.note("process_init"), "MainProcess")
            self.assertEqual((host.report["worker"]["processes"], host.report["worker"]["jobs"]), (1, 1))

    def test_the_settings_may_name_the_pool(self):
        with Host("many", settings=["worker.pool=solo"]) as host:
            self.assertEqual(host.report["worker"]["pool"], "solo")


del Many

if __name__ == "__main__":
    unittest.main()
