"""The start: how the app is found, what fails how, and what the parent gets to know."""

import os
import sqlite3
import sys
import tempfile
import unittest
from contextlib import closing
from pathlib import Path

import celery
from tests.harness import APPS, PATIENCE, Host, job


def failed(test, **options):
    """How a start fails: exit code, text, standard error."""
    host = Host(start=False, **options)
    test.addCleanup(host.close)
    host.link.send(("start", host.options))
    kind, code, text = host.link.receive()
    test.assertEqual(kind, "failed")
    test.assertEqual(host.process.wait(PATIENCE), code)
    return code, text, host.stderr()


class Lookup(unittest.TestCase):
    def found(self, app, **options):
        with Host(app, **options) as host:
            return host.report["worker"]["app"]

    def test_the_forms_of_celery(self):
        for name, main in (("pack", "pack"), ("pack.celery", "pack"), ("pack.celery:app", "pack"),
                           ("pack.celery:other", "other"), ("named", "named"), ("named:the_one", "named")):  # fmt: skip
            with self.subTest(name):
                self.assertEqual(self.found(name), main)

    def test_by_environment(self):
        self.assertEqual(self.found(None, env={"CELERY_APP": "named"}), "named")

    def test_in_the_working_directory(self):
        self.assertEqual(self.found("named", env={"PYTHONPATH": ""}, workdir=str(APPS)), "named")

    def test_none_is_the_default_app_with_its_configuration(self):
        with Host(None, config="conf", workdir=str(APPS / "deep")) as host:
            self.assertEqual(host.report["conf"]["worker_prefetch_multiplier"], 9)

    def test_a_missing_module(self):
        code, text, stderr = failed(self, app="missing")
        self.assertEqual(code, 2)
        self.assertIn("Usage: celery [OPTIONS]", stderr)
        self.assertIn("The module missing was not found.", stderr)
        self.assertIn("missing", text)

    def test_an_import_that_fails_shows_its_traceback(self):
        code, _, stderr = failed(self, app="errors")
        self.assertEqual(code, 2)
        self.assertIn("Traceback (most recent call last)", stderr)
        self.assertIn('errors.py", line 1, in <module>', stderr)
        self.assertIn("RuntimeError: broken at import", stderr)

    def test_a_module_without_an_app(self):
        code, _, stderr = failed(self, app="noapp")
        self.assertEqual(code, 2)
        self.assertIn("Module 'noapp' has no attribute 'celery'", stderr)

    def test_a_setting_that_is_none(self):
        code, _, stderr = failed(self, app="named", settings=["worker.nonsense=1"])
        self.assertEqual(code, 2)
        self.assertIn("Unable to parse extra configuration from command line.", stderr)

    @unittest.skipUnless(os.getuid() == 0, "is about root")
    def test_root_and_pickle(self):
        code, _, stderr = failed(self, app="pickles")
        self.assertEqual(code, 1)
        self.assertIn("C_FORCE_ROOT", stderr)
        self.assertNotIn("Traceback", stderr)
        with Host("pickles", env={"C_FORCE_ROOT": "1"}) as host:
            self.assertEqual(host.report["conf"]["accept_content"], ["pickle", "json"])

    def test_an_unknown_queue(self):
        code, _, stderr = failed(self, app="pack", settings=["task.create_missing_queues=0"], queues=["nope"])
        self.assertEqual(code, 1)
        self.assertIn("ImproperlyConfigured", stderr)


class Process(unittest.TestCase):
    def test_it_looks_like_celery(self):
        argv = ["celery", "-A", "looks", "worker", "-l", "info"]
        with Host("looks", argv=argv, broker="amqp://given//", result_backend="cache+memory://") as host:
            looks = dict(line.split("=", 1) for line in host.note("looks").splitlines())
            self.assertEqual(looks["argv"], repr(argv))
            self.assertEqual(looks["path"], repr(os.path.realpath(host.folder.name)))
            self.assertEqual(looks["ours"], "[]", "the package does not stay on the path")
            self.assertEqual(looks["broker"], "amqp://given//")
            self.assertIn("given", host.report["connection"]["read"]["url"])
            self.assertEqual(host.report["conf"]["result_backend"], "cache+memory://")

    def test_nothing_of_celery_is_taken_from_the_working_directory(self):
        with Host("named", workdir=str(APPS / "deep"), start=False) as host:
            Path(host.folder.name, "celery.py").write_text("raise RuntimeError('shadow')")
            Path(host.folder.name, "marshal.py").write_text("raise RuntimeError('shadow')")
            host.start()

    def test_the_stream_s_end_ends_it_before_the_start(self):
        host = Host(start=False)
        host.link.close()
        self.assertEqual(host.process.wait(PATIENCE), 0)
        host.close()


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.host = Host("signals", concurrency=3, queues=["a"], settings=["worker.lost_wait=3"], time_limit=12.5)
        cls.addClassCleanup(cls.host.close)
        cls.report = cls.host.report

    def test_settings_after_signals_and_command_line(self):
        conf = self.report["conf"]
        self.assertEqual(conf["worker_prefetch_multiplier"], 7)
        self.assertEqual(conf["worker_lost_wait"], 3)
        self.assertEqual(conf["task_time_limit"], 33)
        self.assertEqual(conf["result_expires"], {"__seconds__": 86400.0})
        self.assertIn("worker_prefetch_multiplier", self.report["changed"])
        self.assertNotIn("worker_concurrency", self.report["changed"])
        self.assertIn("redis_password", self.report["secret"])

    def test_the_worker(self):
        worker = self.report["worker"]
        expected = {"hostname": "test@here", "concurrency": 3, "time_limit": 12.5, "prefetch_multiplier": 7,
                    "pool": "prefork", "processes": 3, "jobs": 1, "loglevel": 20}  # fmt: skip
        self.assertEqual({name: worker[name] for name in expected}, expected)

    def test_queues_with_what_signals_added(self):
        queues = self.report["queues"]
        self.assertEqual([queue["name"] for queue in queues["consume"]], ["a", "late"])
        a, b, late = queues["known"]
        self.assertEqual((a["routing_key"], a["queue_arguments"]), ("a.#", {"x-max-priority": 9}))
        self.assertEqual((a["exchange"]["name"], a["exchange"]["type"]), ("ex", "topic"))
        self.assertEqual(b["bindings"][0]["routing_key"], "b.#")

    def test_connection(self):
        read = self.report["connection"]["read"]
        self.assertEqual(read["url"], "amqp://me:secret@one:5672//")
        self.assertEqual(read["urls"], ["amqp://me:secret@one//", "amqp://two//"])
        self.assertEqual(read["options"], {"confirm_publish": True})
        self.assertEqual((read["transport"], read["ssl"]), ("amqp", False))

    def test_signals_and_controls(self):
        self.assertIn("worker_ready", self.report["signals"])
        self.assertNotIn("setup_logging", self.report["signals"])
        twice = self.report["controls"]["twice"]
        self.assertEqual((twice["type"], twice["args"], twice["help"]), ("control", ["n"], "Doubles a number."))
        self.assertNotIn("ping", self.report["controls"])

    def test_the_order_of_celery(self):
        order = ("import_modules", "celeryd_init", "worker_init", "after_setup_logger", "celeryd_after_setup")
        times = [Path(self.host.folder.name, name).stat().st_mtime_ns for name in order]
        self.assertEqual(times, sorted(times))
        self.assertIn("Worker test@here", self.host.note("worker_init"))

    def test_the_banner(self):
        banner = self.report["banner"]
        self.assertIn("amqp://me:**@one:5672//", banner)
        self.assertIn("concurrency: 3 (prefork)", banner)
        self.assertIn(". signals.noop", banner)

    def test_versions(self):
        self.assertEqual(self.report["versions"]["python"], ".".join(map(str, sys.version_info[:3])))

    def test_tasks(self):
        with Host("pack") as host:
            task = host.report["tasks"]["pack.tasks.limited"]
            expected = {"acks_late": True, "rate_limit": "10/m", "time_limit": 5, "soft_time_limit": 4,
                        "ignore_result": False, "max_retries": 3, "default_retry_delay": 180}  # fmt: skip
            self.assertEqual({name: task[name] for name in expected}, expected)
            self.assertIn("celery.chord_unlock", host.report["tasks"])
            self.assertEqual(host.report["unsupported"], [])

    def test_what_does_not_run_here_is_named(self):
        with Host("options", user=["--flavour", "sour", "--colour=blue"], pool="gevent") as host:
            self.assertEqual(host.note("flavour"), "sour")
            self.assertIsNotNone(host.report["worker"]["log_through_app"])
            told = "\n".join(host.report["unsupported"])
            strategy = "task options.batched: Strategy = options:strategy"
            for part in ("pool gevent", "worker bootstep options.Step", strategy):
                self.assertIn(part, told)

    def test_an_option_that_nobody_knows(self):
        code, _, stderr = failed(self, app="options", user=["--taste=bad"])
        self.assertEqual(code, 2)
        self.assertIn("--taste", stderr)


class Newer(unittest.TestCase):
    """Options and settings of Celery 5.7."""

    def test_the_pool_spawns_if_it_is_told_to(self):
        for pool, spawns in (("prefork", "spawn"), ("processes", "spawn"), ("threads", "threads")):
            with Host(pool=pool, pool_start_method="spawn") as host:
                self.assertEqual(host.report["worker"]["pool"], spawns)

    @unittest.skipIf(celery.VERSION < (5, 7), "an older one has no such settings")
    def test_settings_of_the_pool_and_the_log(self):
        settings = ["worker.pool_start_method=spawn", "worker.log_datefmt=%H"]
        with Host(concurrency="auto", settings=settings) as host:
            worker = host.report["worker"]
            self.assertEqual((worker["pool"], type(worker["concurrency"])), ("spawn", int))
            self.assertIsNotNone(worker["log_through_app"])

    @unittest.skipIf(celery.VERSION >= (5, 7), "a newer one knows how many")
    def test_an_automatic_concurrency_is_no_number(self):
        code, text, _ = failed(self, concurrency="auto")
        self.assertEqual(code, 2)
        self.assertIn("'auto' is not a valid integer", text)


class StateDb(unittest.TestCase):
    """The file that an older celeriac kept under the name that is Celery's."""

    def write(self, path):
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE clock (value INTEGER)")
            file.execute(f"PRAGMA application_id = {0x63656C72}")

    def test_it_is_given_its_new_name(self):
        with tempfile.TemporaryDirectory() as folder:
            old, new = Path(folder, "test.state"), Path(folder, "test.state.celeriac")
            self.write(old)
            Path(f"{old}-wal").touch()
            data = old.read_bytes()
            with Host(statedb=f"{folder}/%n.state") as host:
                self.assertEqual(host.report["worker"]["revoked"], [])
            self.assertEqual((old.exists(), new.read_bytes()), (False, data))
            self.assertEqual((Path(f"{old}-wal").exists(), Path(f"{new}-wal").exists()), (False, True))

    def test_nothing_is_overwritten(self):
        with tempfile.TemporaryDirectory() as folder:
            old, new = Path(folder, "test.state"), Path(folder, "test.state.celeriac")
            self.write(old)
            new.write_text("mine")
            code, text, stderr = failed(self, statedb=f"{folder}/%n.state")
            self.assertEqual((code, new.read_text(), old.exists()), (1, "mine", True))
            self.assertIn("remove the one that is not to be used", stderr)


class Logs(unittest.TestCase):
    def test_a_log_file_for_each_child(self):
        with Host(logfile="%n-%i.log") as host:
            for index in range(2):
                child = host.fork(index)
                child.run(job(index + 1, "basic.say", f"from {index}"))
                child.answers(1)
            for index in range(2):
                text = Path(host.folder.name, f"test-{index + 1}.log").read_text()
                self.assertIn(f"from {index}", text)
                self.assertNotIn(f"from {1 - index}", text)


if __name__ == "__main__":
    unittest.main()
