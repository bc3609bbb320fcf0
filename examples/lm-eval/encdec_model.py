"""lm-evaluation-harness's view of an encdec server: the context is the source, the continuation the target.

Registers the model `encdec`; run.py imports it. Arguments (`--model_args`): `base_url`, by default
http://127.0.0.1:8080; `model`, by default the first served one; `num_concurrent`, requests at once, by default 16;
`end`, by default empty, the text that ends every scored target, such as <eos>. An API key is read from
ENCDEC_API_KEY.
"""
import concurrent.futures
import os
import time

import requests
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

TRIES = 8
# Fields of a task's generation_kwargs that the server has under the same name.
SAMPLING = {"temperature", "top_p", "top_k", "min_p", "seed"}


@register_model("encdec")
class EncDec(LM):
    def __init__(self, base_url="http://127.0.0.1:8080", model=None, num_concurrent=16, end="", max_gen_toks=256,
                 **unknown):
        super().__init__()
        # The harness adds these for models of its own.
        unknown = {name: value for name, value in unknown.items() if name not in {"batch_size", "max_batch_size",
                                                                                  "device"}}
        if unknown:
            raise ValueError(f"encdec has no arguments {', '.join(unknown)}")
        self.url = base_url.rstrip("/") + "/v1/completions"
        self.common = {"model": model} if model else {}
        self.end = end
        self.max_gen_toks = max_gen_toks
        self.pool = concurrent.futures.ThreadPoolExecutor(int(num_concurrent))
        self.session = requests.Session()
        self.session.mount(self.url, requests.adapters.HTTPAdapter(pool_maxsize=int(num_concurrent)))
        if "ENCDEC_API_KEY" in os.environ:
            self.session.headers["authorization"] = f"Bearer {os.environ['ENCDEC_API_KEY']}"

    def ask(self, body):
        for last in [False] * (TRIES - 1) + [True]:
            response = self.session.post(self.url, json={**self.common, **body})
            if response.ok:
                return response.json()["choices"][0]
            if last or response.status_code not in (429, 503):
                raise RuntimeError(f"{response.status_code}: {response.text}")
            time.sleep(float(response.headers.get("retry-after", 1)))

    def map(self, ask, asked, disable_tqdm):
        answers = self.pool.map(ask, asked)
        return list(tqdm(answers, total=len(asked), disable=disable_tqdm))

    def score(self, pair):
        """log p(target | source), and whether greedy decoding would have written the target."""
        source, target = pair
        body = {"prompt": source, "decoder_prompt": target + self.end, "echo": True, "logprobs": 1, "max_tokens": 0}
        scores = self.ask(body)["logprobs"]
        chosen, top = scores["token_logprobs"], scores["top_logprobs"]
        is_greedy = all(score >= max(best.values()) for score, best in zip(chosen, top))
        return sum(chosen), is_greedy

    def loglikelihood(self, requests, disable_tqdm=False):
        return self.map(self.score, [request.args for request in requests], disable_tqdm)

    def loglikelihood_rolling(self, requests, disable_tqdm=False):
        # The text is the target, after an empty source.
        scores = self.map(self.score, [("", request.args[0]) for request in requests], disable_tqdm)
        return [score for score, _ in scores]

    def generate(self, asked):
        source, settings = asked
        settings = dict(settings)
        until = settings.pop("until", [])
        stop = [until] if isinstance(until, str) else until
        most = settings.pop("max_gen_toks", self.max_gen_toks)
        if not settings.pop("do_sample", False):
            settings["temperature"] = 0
        unknown = set(settings) - SAMPLING
        if unknown:
            raise ValueError(f"the server has no parameters {', '.join(sorted(unknown))}")
        stop = [text for text in stop if text]
        return self.ask({"prompt": source, "stop": stop, "max_tokens": most, **settings})["text"]

    def generate_until(self, requests, disable_tqdm=False):
        return self.map(self.generate, [request.args for request in requests], disable_tqdm)
