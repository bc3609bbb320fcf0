"""Three replicas behind a proxy: they are restarted under load without a failed request, requests with the same source
reach the same one, and an endpoint picker finds the least loaded one by its metrics.

    python3 -m unittest discover -s server/tests/from_outside -p 'test_replicas.py'

replicas.py says what it needs.
"""
import contextlib
import time
import unittest

import replicas
from endpoint_picker import EndpointPicker

# Streams that last longer than a check, and short answers.
LOAD = """
[load]
stages = [{ seconds = 120, rate = 10 }]
[[requests]]
name = "stream"
repeated = 0.5
max_tokens = 60
ignore_eos = true
[[requests]]
name = "whole"
weight = 3
stream = false
max_tokens = 4
"""
# Not a multiple of the replicas, so that in turn each source reaches all of them.
SOURCES = [f"A package that holds {count} tools for calendars." for count in range(16)]
ROUNDS = 4


class Replicas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.replicas = cls.enterClassContext(replicas.replicas())
        cls.haproxy = cls.enterClassContext(replicas.haproxy(cls.replicas))
        cls.nginx = cls.enterClassContext(replicas.nginx(cls.replicas))
        # An answer may count as an open request for a moment after its client has read it, and the file's bound gives
        # the next request to another replica then. Tests of the hash alone leave the bound out.
        cls.unbound = cls.enterClassContext(replicas.haproxy(cls.replicas, replicas.UNBOUND))

    def answered(self, outcome):
        """Requests of each replica since its start that ended so."""
        return [one.value("encdec_requests_total", outcome=outcome) for one in self.replicas]

    def running(self):
        """Sequences that each replica works on."""
        return [one.value("vllm:num_requests_running") for one in self.replicas]

    def hits(self):
        """Hits in the caches of all replicas since their start."""
        return sum(one.value("encdec_cross_cache_hits_total") for one in self.replicas)

    @contextlib.contextmanager
    def counted(self, requests, outcome="completed"):
        """The list that it gives has the requests that each replica answered meanwhile, of so many in all."""
        before, parts = self.answered(outcome), []
        yield parts

        def all_are_counted():
            parts[:] = [now - then for then, now in zip(before, self.answered(outcome))]
            return sum(parts) == requests

        # An answer is counted when it has been written.
        replicas.wait_for(all_are_counted)

    def test_replicas_are_restarted_under_load_without_a_failed_request(self):
        with replicas.load(self.haproxy, LOAD) as by_haproxy, replicas.load(self.nginx, LOAD) as by_nginx:
            for replica in self.replicas:
                self.assertEqual(replica.restart(), 0)
                # HAProxy has to see that it is back before the next one goes.
                time.sleep(0.6)
        for figures in [by_haproxy, by_nginx]:
            self.assertEqual(figures["failed"], 0, figures["errors"])
            self.assertGreater(figures["completed"], 30)
        # Each is asked again.
        with self.counted(len(SOURCES)) as parts:
            self.ask(self.haproxy, "after the restarts")
        self.assertGreater(min(parts), 0, parts)

    def ask(self, port, salt, headers=None):
        """Asks for each source once."""
        for source in SOURCES:
            body = {"prompt": source, "max_tokens": 1, "cache_salt": salt}
            self.assertEqual(replicas.complete(port, body, headers)[0], 200)

    def share_of_hits(self, port, salt):
        """Asks for the sources again and again: the share of requests whose source was in a replica's cache, and the
        requests of each replica."""
        before = self.hits()
        with self.counted(ROUNDS * len(SOURCES)) as parts:
            for _ in range(ROUNDS):
                self.ask(port, salt)
        return (self.hits() - before) / (ROUNDS * len(SOURCES)), parts

    def test_each_source_is_encoded_by_one_replica_only(self):
        # The first time is no hit, every other one is.
        most = 1 - 1 / ROUNDS
        for name, port in [("haproxy", self.unbound), ("nginx", self.nginx)]:
            share, parts = self.share_of_hits(port, name)
            self.assertEqual(share, most)
            self.assertGreater(min(parts), 0, "all replicas have a part of the sources")
        with replicas.haproxy(self.replicas, replicas.IN_TURN) as in_turn:
            share, _ = self.share_of_hits(in_turn, "in turn")
        self.assertLess(share, most / 2)

    def test_a_header_decides_where_a_client_sets_it(self):
        for name, port in [("haproxy", self.unbound), ("nginx", self.nginx)]:
            with self.counted(len(SOURCES)) as parts:
                self.ask(port, name + " by header", {"x-source-key": "one for all"})
            self.assertEqual(sorted(parts), [0, 0, len(SOURCES)])

    def test_bodies_without_a_text_go_where_the_same_body_went(self):
        bodies = [{"prompt": [[5, 6, 7, place]], "max_tokens": 1} for place in range(12)]
        for port in [self.unbound, self.nginx]:
            with self.counted(3 * len(bodies)) as parts:
                for body in 3 * bodies:
                    self.assertEqual(replicas.complete(port, body)[0], 200)
            self.assertTrue(all(part % 3 == 0 for part in parts), parts)
            self.assertLess(max(parts), 3 * len(bodies), "not all go to one")

    def test_a_body_that_is_too_long_to_be_read_first_goes_by_its_beginning(self):
        # The model takes no source of this length; its replica says so.
        for source in ["a", "b", "c"]:
            body = {"prompt": source + 40_000 * " word", "max_tokens": 1}
            with self.counted(3, "refused") as parts:
                for length in range(3):
                    headers = {"x-other": 100 * length * "x"}
                    self.assertEqual(replicas.complete(self.unbound, body, headers)[0], 400)
            self.assertEqual(sorted(parts), [0, 0, 3])

    def test_a_source_that_many_ask_for_at_once_is_shared_out(self):
        long = {"prompt": SOURCES[0], "max_tokens": 900, "ignore_eos": True, "cache_salt": "many"}
        for port, are_all_at_one in [(self.unbound, True), (self.haproxy, False)]:
            with contextlib.ExitStack() as stack:
                for count in range(4):
                    stack.callback(replicas.connect(port, long).close)
                    replicas.wait_for(lambda count=count: sum(self.running()) == count + 1)
                self.assertEqual(max(self.running()) == 4, are_all_at_one, self.running())
            replicas.wait_for(lambda: sum(self.running()) == 0)

    def test_an_endpoint_picker_sends_to_the_least_loaded_replica(self):
        picker = EndpointPicker(self.replicas)
        busy, lighter, idle = self.replicas
        long = {"prompt": SOURCES[0], "max_tokens": 900, "ignore_eos": True, "temperature": 1.0}
        with contextlib.ExitStack() as stack:
            for replica, count in [(busy, 11), (lighter, 2)]:
                for seed in range(count):
                    connection = replicas.connect(replica.port, {**long, "seed": seed})
                    stack.callback(connection.close)
            expected = {busy.port: (3, 8), lighter.port: (0, 2), idle.port: (0, 0)}
            seen = {}

            def as_expected():
                seen.update(picker.scrape())
                return {port: (one.waiting, one.running) for port, one in seen.items()} == expected

            replicas.wait_for(as_expected)
            for replica in [busy, lighter]:
                self.assertGreater(seen[replica.port].cache_usage, 0)
                self.assertLess(seen[replica.port].cache_usage, 1)
            self.assertEqual(seen[idle.port].cache_usage, 0)
            picked = picker.pick()
            self.assertEqual(picked, idle.port)
            with self.counted(1) as parts:
                body = {"prompt": SOURCES[0], "max_tokens": 1}
                self.assertEqual(replicas.complete(picked, body, picker.headers(picked))[0], 200)
            self.assertEqual(parts, [0, 0, 1])
        # Who leaves gives up place and pages; sources that are only kept do not count as used.
        idle_now = (0, 0, 0)
        replicas.wait_for(lambda: all((one.waiting, one.running, one.cache_usage) == idle_now
                                      for one in picker.scrape().values()))
        self.assertGreater(busy.value("encdec_pages", state="cached"), 0)

    def test_the_picker_learns_the_size_of_the_cache(self):
        for replica in self.replicas:
            seen = EndpointPicker([replica]).scrape()[replica.port]
            pages = sum(value for name, _, value in replica.samples() if name == "encdec_pages")
            self.assertEqual((seen.block_size, seen.blocks), (16, pages))


if __name__ == "__main__":
    start = time.monotonic()
    unittest.main(verbosity=2, exit=False)
    print(f"{time.monotonic() - start:.1f} s")
