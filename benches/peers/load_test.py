"""What is read from the load generators' own words."""

import unittest

import load

OUTPUT = """Application protocol: h2
requests: {done} total, 1013 started, {done} done, {succeeded} succeeded, {failed} failed, {errored} errored, {timeout} timeout
status codes: {two} 2xx, {three} 3xx, {four} 4xx, {five} 5xx
"""


def output(**counts):
    nothing = dict.fromkeys(["done", "succeeded", "failed", "errored", "timeout", "two", "three", "four", "five"], 0)
    return OUTPUT.format(**{**nothing, **counts})


class H2load(unittest.TestCase):
    def test_an_answer_that_the_end_of_the_time_cut_is_no_failure(self):
        counts = load.h2load_counts(output(done=1005, succeeded=1005, two=1006))
        self.assertEqual(counts, {"requests": 1005, "failed": 0})

    def test_every_way_to_fail_is_counted(self):
        for lost in ["failed", "errored", "timeout", "three", "four", "five"]:
            with self.subTest(lost):
                counts = load.h2load_counts(output(done=10, succeeded=9, two=9, **{lost: 1}))
                self.assertEqual(counts, {"requests": 9, "failed": 1})

    def test_what_was_not_http_2_is_no_measure(self):
        with self.assertRaises(load.Failed):
            load.h2load_counts(output(two=5, succeeded=5).replace("Application protocol: h2", "Application protocol: http/1.1"))


if __name__ == "__main__":
    unittest.main()
