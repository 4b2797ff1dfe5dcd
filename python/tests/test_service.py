"""The service: what Celery's parent does for a task, signals, remote control, log records."""

import unittest

import celery
from tests.harness import Host, alive, eventually, job


def signature(task, **options):
    return {"task": task, "args": [], "kwargs": {}, "options": options, "subtask_type": None, "immutable": False}


class Service(unittest.TestCase):
    app = "basic"

    @classmethod
    def setUpClass(cls):
        cls.host = Host(cls.app)
        cls.addClassCleanup(cls.host.close)
        cls.service = cls.host.service()
        cls.addClassCleanup(cls.service.close)
        cls.seq = 0

    def ask(self, *message):
        """The service's answer to a message, whose `seq` goes second."""
        type(self).seq += 1
        return self.host.asked(self.service, message[0], self.seq, *message[1:])

    def lost(self, kind, name="basic.add", args=(1, 2), arguments=None, **request):
        ok, actions = self.ask("lost", *job(0, name, *args, id=self.id(), **request)[1:], kind, arguments or {})
        self.assertTrue(ok, actions)
        return actions

    def stored(self, id=None):
        return self.host.result(id or self.id())


class Lost(Service):
    def test_a_lost_task_is_a_failure(self):
        chain = [signature("basic.noop", task_id="next-in-chain")]
        errback = signature("basic.errback")
        text = "Worker exited prematurely: signal 9 (SIGKILL) Job: 5."
        actions = self.lost("lost", arguments={"text": text}, embed={"errbacks": [errback], "chain": chain})
        stored = self.stored()
        self.assertEqual((stored["status"], stored["result"]["exc_type"]), ("FAILURE", "WorkerLostError"))
        self.assertEqual(stored["result"]["exc_message"], [text])
        self.assertIn(self.id(), self.host.note("errback"))
        self.assertIn("WorkerLostError", self.host.note("errback"))
        self.assertEqual(self.stored("next-in-chain")["status"], "FAILURE")
        ((event, kind, fields),) = actions
        self.assertEqual((event, kind, fields["uuid"]), ("event", "task-failed", self.id()))
        self.assertIn(f"WorkerLostError: {text}", fields["traceback"])
        self.assertRegex(self.host.stderr(), r"ERROR/MainProcess\] Task handler raised error: WorkerLostError")

    def test_celery_decides_whether_it_is_acknowledged(self):
        rejected = ("event", "task-rejected", {"uuid": self.id(), "requeue": True})
        self.assertEqual(self.lost("lost", "basic.careful", (), {"text": "x"}), [("reject", True), rejected])
        self.assertIsNone(self.stored(), "it comes again")
        self.assertEqual(self.lost("lost", "basic.late", (), {"text": "x"})[0], ("ack",))
        self.assertEqual(self.stored()["status"], "FAILURE")

    def test_a_hard_limit(self):
        actions = self.lost("timeout", "basic.late", (), {"timeout": 2.5})
        self.assertEqual(self.stored()["result"]["exc_type"], "TimeLimitExceeded")
        self.assertEqual([action[0] for action in actions], ["ack", "event"])

    @unittest.skipIf(celery.VERSION < (5, 7), "an older one calls nothing")
    def test_a_hard_limit_is_told_to_the_handlers_of_the_task(self):
        actions = self.lost("timeout", "basic.noting", (7,), {"timeout": 2.5})
        self.assertEqual(self.host.note("on_failure"), "TimeLimitExceeded(2.5) [7] ExceptionInfo")
        self.assertEqual(self.host.note("after_return"), "FAILURE TimeLimitExceeded(2.5)")
        self.assertEqual([action[1] for action in actions], ["task-failed"])
        self.assertIn("ValueError: of the handler", self.host.stderr())

    @unittest.skipIf(celery.VERSION < (5, 7), "an older one stores nothing")
    def test_rejected_for_good(self):
        actions = self.lost("reject", "basic.late", (), {"reason": "no", "traceback": "T"})
        stored = self.stored()["result"]
        self.assertEqual((stored["exc_type"], stored["exc_message"]), ("Reject", ["no", False]))
        self.assertEqual([action[:2] for action in actions],
                         [("event", "task-failed"), ("reject", False), ("event", "task-rejected")])  # fmt: skip
        self.assertEqual((actions[0][2]["exception"], actions[0][2]["traceback"]), ("reject requeue=False: no", "T"))

    def test_revoked(self):
        arguments = {"reason": "terminated", "terminated": True, "signum": 15}
        actions = self.lost("revoked", arguments=arguments)
        self.assertEqual((self.stored()["status"], self.stored()["result"]["exc_message"]), ("REVOKED", ["terminated"]))
        self.assertEqual(actions, [
            ("event", "task-revoked", {"uuid": self.id(), "terminated": True, "signum": 15, "expired": False}),
            ("ack",),
        ])  # fmt: skip

    def test_cancelled_is_a_retry(self):
        actions = self.lost("retry")
        self.assertEqual(self.stored()["status"], "RETRY")
        self.assertEqual(actions, [("event", "task-cancelled", {"uuid": self.id()})])

    def test_unregistered(self):
        actions = self.lost("unregistered", "basic.gone")
        self.assertEqual(self.stored()["result"]["exc_type"], "NotRegistered")
        failed = {"uuid": self.id(), "exception": "NotRegistered('basic.gone')"}
        self.assertEqual(actions, [("reject", False), ("event", "task-failed", failed)])
        self.assertIn("Received unregistered task of type 'basic.gone'", self.host.stderr())

    def test_a_task_that_exited(self):
        self.lost("exit", arguments={"exception": "SystemExit(3)", "traceback": "T"})
        result = self.stored()["result"]
        text = "Worker exited prematurely: exitcode 3." if celery.VERSION >= (5, 7) else "SystemExit(3)"
        self.assertEqual((result["exc_type"], result["exc_message"]), ("WorkerLostError", [text]))

    def test_internal_keeps_the_exception(self):
        actions = self.lost("internal", arguments={"exception": "TypeError('a', 3)", "traceback": "Traceback: here"})
        stored = self.stored()
        self.assertEqual((stored["result"]["exc_type"], stored["result"]["exc_message"]), ("TypeError", ["a", 3]))
        self.assertEqual(actions[0][2]["traceback"], "Traceback: here")

    def test_internal_of_a_type_that_is_not_at_hand(self):
        self.lost("internal", arguments={"exception": "Odd(<object at 0x1>)", "traceback": "T"})
        self.assertEqual(self.stored()["result"]["exc_type"], "Odd")

    def test_a_decoded_body(self):
        given = job(0, "basic.add", id=self.id())[1:4]
        ok, _ = self.ask("lost", *given, ([1], {}, {}), None, None, "lost", {"text": "x"})
        self.assertTrue(ok)
        self.assertEqual(self.stored()["status"], "FAILURE")

    def test_what_cannot_be_settled_is_said(self):
        ok, text = self.ask("lost", *job(0, "basic.add", id=self.id(), body=b"{")[1:], "lost", {"text": "x"})
        self.assertFalse(ok)
        self.assertIn("DecodeError", text)


class Signals(Service):
    app = "signals"

    def sent(self, name, /, **arguments):
        self.service.send(("signal", name, arguments))
        return self.host.note(name)

    def test_of_the_worker(self):
        self.assertIn("Consumer", self.sent("worker_ready"))
        self.assertIn("str test@here {'exitcode': '0', 'how': \"'Warm'\", 'sig': \"'SIGTERM'\"}",
                      self.sent("worker_shutting_down", sig="SIGTERM", how="Warm", exitcode=0))  # fmt: skip
        self.assertIn("Worker test@here", self.sent("worker_shutdown"))
        self.sent("heartbeat_sent")

    def test_of_tasks(self):
        name, _, *rest = job(0, "signals.noop", id="some-id")[1:]
        task = (name, *rest)
        self.assertRegex(self.sent("task_received", task=task), r"Consumer .*<Request: signals.noop\[some-id\]")
        note = self.sent("task_revoked", task=task, terminated=False, signum=None, expired=True)
        self.assertRegex(note, r"noop <@task: signals.noop .*<Context: .*some-id")
        message = ({}, b"[]", "application/json", "utf-8")
        self.assertIn("Consumer", self.sent("task_rejected", message=message, exc=None))
        self.assertIn("'name': \"'gone'\"", self.sent("task_unknown", message=message, exc=None, name="gone", id="1"))

    def test_of_a_failure_outside_the_child(self):
        self.ask("lost", *job(0, "signals.noop")[1:], "lost", {"text": "gone"})
        self.assertIn("WorkerLostError", self.host.note("task_failure"))


class Control(Service):
    app = "signals"

    def test_commands_of_the_app(self):
        reply = {"ok": 8, "app": "signals", "host": "test@here"}
        self.assertEqual(self.ask("control", "twice", {"n": 4}), (True, reply))
        self.assertEqual(self.ask("control", "broken", {}), (False, "ValueError('broken')"))

    def test_commands_of_celery_that_ask_the_app(self):
        _, conf = self.ask("control", "conf", {})
        self.assertEqual(conf["broker_url"], "amqp://me:********@one:5672//")
        _, registered = self.ask("control", "registered", {"taskinfoitems": ["max_retries"]})
        self.assertIn("signals.noop [max_retries=3]", registered)

    def test_a_log_record_of_the_parent(self):
        self.service.send(("log", 30, "celery.worker", "from the parent", 1.5e9))
        self.ask("control", "twice", {})
        self.assertRegex(self.host.stderr(), r"\[2017-07-1\d .*: WARNING/MainProcess\] from the parent")


class Revoke(Service):
    def test_a_revoke_is_stored_at_the_command(self):
        ok, value = self.ask("control", "revoke", {"task_id": [self.id()]})
        self.assertEqual((ok, value["ok"]), (True, f"tasks {{'{self.id()}'}} flagged as revoked"))
        if celery.VERSION >= (5, 6):  # an older one stores it when the task comes
            self.assertEqual(self.stored()["status"], "REVOKED")

    def test_it_ends_with_its_stream(self):
        with Host() as host:
            service = host.service()
            host.asked(service, "control", 1, "ping", {})
            service.close()
            status = host.told("exited")
            self.assertEqual(status[2], 0)
            eventually(lambda: not alive(status[1]))
            self.assertEqual(host.asked(host.service(), "control", 1, "ping", {}), (True, {"ok": "pong"}))


if __name__ == "__main__":
    unittest.main()
