import unittest

from tests.harness import Host, job


class Child(unittest.TestCase):
    def test_runs_a_task_and_stores_its_result(self):
        with Host() as host:
            child = host.fork()
            child.run(job(7, "basic.add", 2, 3))
            (answer,) = child.answers(1).values()
            self.assertEqual(answer[:2], (7, "ok"))
            self.assertEqual(answer[3:], ("5", "", 0))
            self.assertEqual(host.result("id-7")["result"], 5)
            self.assertEqual(list(child.page[:3])[0::2], [0, 1])


if __name__ == "__main__":
    unittest.main()
