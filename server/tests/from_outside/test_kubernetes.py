"""The files of deploy/ for Kubernetes: kustomize builds them, the API's schemas accept them, and what they say of each
other and of the server is true.

Needs kubectl and kubernetes-validate, in the version of kubernetes-requirements.txt. Run by kubernetes.sh.
"""
import copy
import subprocess
import tomllib
import unittest

import kubernetes_validate
import yaml

from running_server import ROOT, Server

FOLDER = ROOT / "deploy/kubernetes"
# The newest release with a schema, and the oldest that is likely to run these: the API of `unhealthyPodEvictionPolicy`.
RELEASES = ["1.37", "1.31"]


def built(name):
    """Objects of a kustomization, by kind."""
    text = subprocess.run(["kubectl", "kustomize", FOLDER / name], check=True, capture_output=True, text=True).stdout
    objects = list(yaml.safe_load_all(text))
    kinds = {one["kind"]: one for one in objects}
    assert len(kinds) == len(objects), "each kind is there once"
    return kinds


def settings(objects):
    return tomllib.loads(objects["ConfigMap"]["data"]["config.toml"])


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.base, cls.gpu, cls.gateway = built("base"), built("gpu"), built("gateway")

    def each(self):
        """Objects and pod of each kustomization."""
        return [(one, one["Deployment"]["spec"]["template"]["spec"]) for one in [self.base, self.gpu, self.gateway]]

    def valid(self, one):
        for release in RELEASES:
            kubernetes_validate.validate(one, release, strict=True)

    def test_the_schemas_of_the_api_accept_every_object(self):
        for objects, _ in self.each():
            self.assertEqual(set(objects), {"ConfigMap", "Deployment", "HorizontalPodAutoscaler",
                                            "PodDisruptionBudget", "Service"})
            for one in objects.values():
                self.valid(one)
        self.valid(yaml.safe_load((ROOT / "deploy/batch/kubernetes-job.yaml").read_text()))

    def test_a_field_that_the_api_does_not_know_is_found(self):
        wrong = copy.deepcopy(self.base["Deployment"])
        wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError):
            self.valid(wrong)

    def test_all_refer_to_the_pods_and_the_settings(self):
        for objects, pod in self.each():
            labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
            for selector in [objects["Service"]["spec"]["selector"],
                             objects["Deployment"]["spec"]["selector"]["matchLabels"],
                             objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]]:
                self.assertLessEqual(selector.items(), labels.items())
                self.assertTrue(selector)
            scaled = objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
            named = ("Deployment", objects["Deployment"]["metadata"]["name"])
            self.assertEqual((scaled["kind"], scaled["name"]), named)
            config = next(volume["configMap"] for volume in pod["volumes"] if volume["name"] == "config")
            self.assertEqual(config["name"], objects["ConfigMap"]["metadata"]["name"])
            ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
            served = settings(objects)["server"]
            self.assertEqual(ports["http"], served["port"])
            self.assertEqual(ports["probes"], int(served["probe_address"].rpartition(":")[2]))
            self.assertEqual(objects["Service"]["spec"]["ports"][0]["targetPort"], "http")
            annotations = objects["Deployment"]["spec"]["template"]["metadata"]["annotations"]
            self.assertEqual(int(annotations["prometheus.io/port"]), ports["probes"])

    def test_a_pod_has_time_to_leave_and_may_do_nothing_else_than_serve(self):
        for objects, pod in self.each():
            served = settings(objects)["server"]
            # The server ends within a second of its drain timeout.
            needed = served["drain_delay_s"] + served["drain_timeout_s"] + 1
            self.assertGreater(pod["terminationGracePeriodSeconds"], needed)
            container = pod["containers"][0]
            probe = container["readinessProbe"]
            noticed = probe["failureThreshold"] * (probe["periodSeconds"] + probe["timeoutSeconds"])
            self.assertLess(noticed, served["drain_delay_s"], "/ready is known to fail before requests are refused")
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertGreater(pod["securityContext"]["runAsUser"], 0)
            self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
            self.assertFalse(container["securityContext"]["allowPrivilegeEscalation"])
            self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})

    def test_a_graphics_card_and_a_checkpoint_are_asked_for(self):
        container = self.gpu["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        self.assertEqual(container["resources"]["limits"]["nvidia.com/gpu"], "1")
        self.assertTrue(container["image"].startswith("encdec-cuda:"))
        self.assertIn("--model=/checkpoint", container["args"])
        self.assertIn("/checkpoint", [mount["mountPath"] for mount in container["volumeMounts"]])

    def test_the_gateway_s_pods_have_the_base_s_settings_and_those_of_the_picker(self):
        own = settings(self.gateway)
        self.assertEqual(own.pop("telemetry"), {"vllm_metric_names": True})
        self.assertEqual(own.pop("access"), {"metrics": "open"})
        self.assertEqual(own, settings(self.base))
        values = yaml.safe_load((FOLDER / "gateway/values.yaml").read_text())
        pool = values["inferencePool"]
        template = self.gateway["Deployment"]["spec"]["template"]
        self.assertLessEqual(pool["modelServers"]["matchLabels"].items(), template["metadata"]["labels"].items())
        self.assertEqual(pool["targetPorts"], [{"number": own["server"]["port"]}])

    def test_the_server_takes_the_settings(self):
        text = self.gateway["ConfigMap"]["data"]["config.toml"].replace("0.0.0.0", "127.0.0.1")
        with Server(text.replace("127.0.0.1:8081", "127.0.0.1:0")) as server:
            self.assertIn("http://127.0.0.1:", server.address)

    def test_the_autoscaler_s_metric_is_made_of_the_server_s(self):
        scaled = self.base["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
        rule = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]["custom"][0]
        self.assertEqual(rule["name"]["as"], scaled)
        documented = (ROOT / "docs/api.md").read_text()
        for name in ["encdec_waiting_rows", "encdec_waiting_encodings"]:
            self.assertIn(f"| `{name}` | gauge", documented)
        self.assertIn("encdec_waiting_rows{", rule["seriesQuery"])
        self.assertIn('__name__=~"encdec_waiting_(rows|encodings)"', rule["metricsQuery"])


if __name__ == "__main__":
    unittest.main()
