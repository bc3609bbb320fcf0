"""An endpoint picker of the Gateway API inference extension, as far as it meets a server: it reads the metrics of its
model server protocol as the file of deploy/ tells the real one to, and scores replicas by them.

The protocol and the scores are those of kubernetes-sigs/gateway-api-inference-extension (docs/proposals, 003 and 004)
and llm-d's picker (2026).
"""
import dataclasses
import re

from running_server import ROOT

VALUES = ROOT / "deploy/kubernetes/gateway/values.yaml"
# Queue and cache in the profile of values.yaml.
WEIGHTS = {"queue-scorer": 2, "kv-cache-utilization-scorer": 2}


@dataclasses.dataclass
class Seen:
    """What a replica said of itself."""

    waiting: int
    running: int
    cache_usage: float
    block_size: int
    blocks: int


class EndpointPicker:
    def __init__(self, replicas):
        self.replicas = replicas
        text = VALUES.read_text(encoding="utf-8")
        self.names = dict(re.findall(r"^ +(\w+Spec): (\S+)$", text, re.MULTILINE))
        for scorer, weight in WEIGHTS.items():
            assert f"- pluginRef: {scorer}\n          weight: {weight}\n" in text, scorer

    def scrape(self):
        """What every replica says, by port."""
        return {replica.port: self.seen(replica) for replica in self.replicas}

    def seen(self, replica):
        # As the picker: the first sample of a name, whatever its labels.
        samples = {}
        for name, labels, value in replica.samples():
            samples.setdefault(name, (labels, value))
        cache, _ = samples[self.names["cacheInfoSpec"]]
        return Seen(
            waiting=int(samples[self.names["queuedRequestsSpec"]][1]),
            running=int(samples[self.names["runningRequestsSpec"]][1]),
            cache_usage=samples[self.names["kvUsageSpec"]][1],
            block_size=int(cache["block_size"]),
            blocks=int(cache["num_gpu_blocks"]),
        )

    def pick(self):
        """Port of the replica with the highest score."""
        seen = self.scrape()
        queues = [one.waiting for one in seen.values()]

        def score(one):
            span = max(queues) - min(queues)
            queue = (max(queues) - one.waiting) / span if span else 1
            return WEIGHTS["queue-scorer"] * queue + WEIGHTS["kv-cache-utilization-scorer"] * (1 - one.cache_usage)

        return max(seen, key=lambda port: score(seen[port]))

    def headers(self, port):
        """What reaches the server with a request that was picked for: the picker's header, and those that clients send
        to the gateway and that it may pass on."""
        return {
            "x-gateway-destination-endpoint": f"127.0.0.1:{port}",
            "x-gateway-destination-endpoint-subset": f"127.0.0.1:{port}",
            "x-gateway-inference-objective": "interactive",
            "x-gateway-inference-fairness-id": "a-tenant",
            "x-request-id": "picked-1",
        }
