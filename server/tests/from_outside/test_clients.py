"""Clients that others wrote, unchanged, against a running server: openai, LiteLLM and LangChain.

Run by clients.sh, which installs them.
"""
import asyncio
import json
import socket
import tempfile
import threading
import time
import unittest

import litellm
import openai
from langchain_openai import ChatOpenAI, OpenAI as LangChainOpenAI, OpenAIEmbeddings

from running_server import Server

litellm.suppress_debug_info = True
SOURCE = "A small library that reads and writes calendar files."
ANSWER = "library for reading and writing CSV files"
MESSAGES = [{"role": "system", "content": "Write a synopsis."}, {"role": "user", "content": SOURCE}]
# One request runs, one waits, and a third one is refused.
FEW_PLACES = """[limits]
queued_rows = 1
prompts = 1
choices = 1
total_choices = 1
running_rows = 2
request_rows = 1
queue_timeout_s = 1
"""


def client_of(address, **settings):
    return openai.OpenAI(base_url=f"{address}/v1", api_key="any", **settings)


class OpenAiTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(Server())
        cls.client = client_of(cls.server.address)

    def test_models_are_listed(self):
        models = self.client.models.list().data
        self.assertEqual([model.id for model in models], ["demo"])
        self.assertEqual(self.client.models.retrieve("demo").id, "demo")

    def test_a_completion_has_text_usage_and_log_probabilities(self):
        completion = self.client.completions.create(
            model="demo", prompt=SOURCE, temperature=0, max_tokens=24, logprobs=2)
        choice = completion.choices[0]
        self.assertEqual((choice.text, choice.finish_reason), (ANSWER, "stop"))
        self.assertEqual(completion.usage.total_tokens,
                         completion.usage.prompt_tokens + completion.usage.completion_tokens)
        self.assertEqual(len(choice.logprobs.tokens), completion.usage.completion_tokens)
        self.assertEqual(choice.logprobs.text_offset[0], 0)

    def test_fields_that_openai_lacks_are_sent_as_extra_body(self):
        completion = self.client.completions.create(
            model="demo", prompt=SOURCE, temperature=0, max_tokens=24,
            extra_body={"decoder_prompt": "library", "return_token_ids": True})
        self.assertEqual("library" + completion.choices[0].text, ANSWER)
        self.assertTrue(completion.choices[0].token_ids)

    def test_several_prompts_and_choices_come_in_their_order(self):
        completion = self.client.completions.create(
            model="demo", prompt=[SOURCE, "A game of cards."], n=2, max_tokens=4, seed=1)
        self.assertEqual([choice.index for choice in completion.choices], [0, 1, 2, 3])

    def test_a_stream_ends_with_its_usage(self):
        stream = self.client.completions.create(
            model="demo", prompt=SOURCE, temperature=0, max_tokens=24, stream=True,
            stream_options={"include_usage": True})
        chunks = list(stream)
        self.assertEqual("".join(chunk.choices[0].text for chunk in chunks[:-1]), ANSWER)
        self.assertEqual(chunks[-2].choices[0].finish_reason, "stop")
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 10))

    def test_a_chat_has_a_message_usage_and_log_probabilities(self):
        chat = self.client.chat.completions.create(
            model="demo", messages=MESSAGES, temperature=0, max_completion_tokens=24, logprobs=True, top_logprobs=2)
        choice = chat.choices[0]
        self.assertEqual((choice.message.role, choice.message.content), ("assistant", ANSWER))
        self.assertEqual(choice.finish_reason, "stop")
        tokens = choice.logprobs.content
        self.assertEqual(len(tokens), chat.usage.completion_tokens)
        self.assertEqual({len(token.top_logprobs) for token in tokens}, {2})

    def test_a_chat_is_streamed_from_its_role_to_its_usage(self):
        stream = self.client.chat.completions.create(
            model="demo", messages=MESSAGES, temperature=0, stream=True, stream_options={"include_usage": True})
        chunks = list(stream)
        deltas = [chunk.choices[0] for chunk in chunks[:-1]]
        self.assertEqual(deltas[0].delta.role, "assistant")
        self.assertEqual("".join(choice.delta.content or "" for choice in deltas), ANSWER)
        self.assertEqual([choice.finish_reason for choice in deltas], [None] * (len(deltas) - 1) + ["stop"])
        self.assertEqual((chunks[-1].choices, chunks[-1].usage.completion_tokens), ([], 10))

    def test_a_response_has_a_text_usage_and_log_probabilities(self):
        response = self.client.responses.create(
            model="demo", input=SOURCE, temperature=0, metadata={"party": "a"},
            include=["message.output_text.logprobs"], top_logprobs=2)
        self.assertEqual((response.output_text, response.status, response.store), (ANSWER, "completed", False))
        self.assertEqual(response.metadata, {"party": "a"})
        tokens = response.output[0].content[0].logprobs
        self.assertEqual(len(tokens), response.usage.output_tokens)
        self.assertEqual({len(token.top_logprobs) for token in tokens}, {2})

    def test_responses_go_on_with_a_conversation(self):
        items = [{"role": "user", "content": "A game of cards."}]
        first = self.client.responses.create(model="demo", input=items, instructions="Write a synopsis.")
        items += first.output
        items.append({"role": "user", "content": [{"type": "input_text", "text": SOURCE}]})
        second = self.client.responses.create(model="demo", input=items, temperature=0)
        self.assertEqual(second.output_text, ANSWER)

    def test_a_response_is_streamed_in_its_events(self):
        events = list(self.client.responses.create(model="demo", input=SOURCE, temperature=0, stream=True))
        self.assertEqual([event.sequence_number for event in events], list(range(len(events))))
        self.assertEqual("".join(event.delta for event in events if event.type == "response.output_text.delta"), ANSWER)
        self.assertEqual(events[-1].response.usage.output_tokens, 10)
        with self.client.responses.stream(model="demo", input=SOURCE, max_output_tokens=2) as stream:
            self.assertEqual([event.type for event in stream][-1], "response.incomplete")
        with self.client.responses.stream(model="demo", input=SOURCE, temperature=0) as stream:
            self.assertEqual(stream.get_final_response().output_text, ANSWER)

    def test_many_streams_run_at_once(self):
        async def text(client):
            stream = await client.completions.create(
                model="demo", prompt=SOURCE, temperature=0, max_tokens=24, stream=True)
            return "".join([chunk.choices[0].text async for chunk in stream])

        async def all_texts():
            async with openai.AsyncOpenAI(base_url=f"{self.server.address}/v1", api_key="any") as client:
                return await asyncio.gather(*(text(client) for _ in range(20)))

        self.assertEqual(asyncio.run(all_texts()), [ANSWER] * 20)

    def test_embeddings_have_length_one_and_are_the_same_in_base64_and_as_numbers(self):
        asked = {"model": "demo", "input": [SOURCE, "A game of cards."]}
        # This client asks for base64 by itself.
        packed, plain = (self.client.embeddings.create(**asked, **form) for form in ({}, {"encoding_format": "float"}))
        for one, other in zip(packed.data, plain.data, strict=True):
            self.assertEqual(one.index, other.index)
            self.assertAlmostEqual(sum(number * number for number in one.embedding), 1, places=5)
            for number, same in zip(one.embedding, other.embedding, strict=True):
                self.assertAlmostEqual(number, same, places=6)
        self.assertEqual(packed.usage.prompt_tokens, packed.usage.total_tokens)
        short = self.client.embeddings.create(**asked, dimensions=8)
        self.assertEqual([len(one.embedding) for one in short.data], [8, 8])

    def test_errors_have_their_classes_and_name_the_field(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model="demo", prompt=SOURCE, top_p=1.5)
        self.assertEqual((caught.exception.param, caught.exception.status_code), ("top_p", 400))
        self.assertTrue(caught.exception.request_id)
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.completions.create(model="gpt-9", prompt=SOURCE)
        self.assertEqual(caught.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model="demo", prompt="word " * 9000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(model="demo", messages=MESSAGES, tools=[{"type": "function"}])
        self.assertEqual(caught.exception.param, "tools")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.responses.create(model="demo", input=SOURCE, previous_response_id="resp_1")
        self.assertEqual(caught.exception.param, "previous_response_id")
        with self.assertRaises(openai.NotFoundError) as caught:
            self.client.responses.retrieve("resp_1")
        self.assertEqual(caught.exception.code, "response_not_found")


class RetryTest(unittest.TestCase):
    def test_a_client_that_is_refused_for_overload_comes_again_and_is_answered(self):
        with Server(FEW_PLACES) as server:
            # More than there are rows and places for, whatever ends meanwhile.
            others, done = client_of(server.address, max_retries=0), threading.Event()
            threads = [threading.Thread(target=self.keep_busy, args=[others, done]) for _ in range(4)]
            for thread in threads:
                thread.start()
            self.until_full(others)
            patient = client_of(server.address, max_retries=20)
            threading.Timer(3, done.set).start()
            # One that comes just when a place is free is answered at once.
            for _ in range(20):
                answer = patient.completions.with_raw_response.create(model="demo", prompt=SOURCE, temperature=0)
                self.assertEqual(answer.parse().choices[0].text, ANSWER)
                if answer.retries_taken > 0:
                    break
            done.set()
            for thread in threads:
                thread.join()
            self.assertGreater(answer.retries_taken, 0)

    def keep_busy(self, client, done):
        extra = {"ignore_eos": True, "speculation": "off"}
        long = dict(model="demo", prompt=SOURCE, max_tokens=1000, stream=True, extra_body=extra)
        while not done.is_set():
            try:
                with client.completions.create(**long) as stream:
                    for _ in stream:
                        if done.is_set():
                            break
            except (openai.RateLimitError, openai.InternalServerError):
                time.sleep(0.01)

    def until_full(self, client):
        for _ in range(200):
            try:
                client.completions.create(model="demo", prompt=SOURCE, max_tokens=1)
            except openai.RateLimitError as error:
                self.assertEqual(error.response.headers["retry-after"], "1")
                return
            except openai.InternalServerError:
                pass
            time.sleep(0.01)
        self.fail("the queue is never full")

    def test_a_client_that_comes_while_the_model_loads_is_answered(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        client = client_of(f"http://127.0.0.1:{port}", max_retries=30)
        answers = []

        def ask():
            answers.append(client.completions.with_raw_response.create(model="demo", prompt=SOURCE, temperature=0))

        asking = threading.Thread(target=ask)
        asking.start()
        with Server(port=port):
            asking.join()
        self.assertGreater(answers[0].retries_taken, 0)
        self.assertEqual(answers[0].parse().choices[0].text, ANSWER)


class LiteLlmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = cls.enterClassContext(Server())
        cls.settings = {"model": "text-completion-openai/demo", "api_base": f"{server.address}/v1", "api_key": "any"}

    def test_a_completion_whole_and_streamed(self):
        answer = litellm.text_completion(prompt=SOURCE, temperature=0, max_tokens=24, **self.settings)
        self.assertEqual(answer.choices[0].text, ANSWER)
        self.assertGreater(answer.usage.completion_tokens, 1)
        stream = litellm.text_completion(prompt=SOURCE, temperature=0, max_tokens=24, stream=True, **self.settings)
        texts = [chunk.choices[0].text or "" for chunk in stream if chunk.choices]
        self.assertEqual("".join(texts), ANSWER)

    def test_a_chat_whole_and_streamed(self):
        settings = {**self.settings, "model": "openai/demo"}
        answer = litellm.completion(messages=MESSAGES, temperature=0, **settings)
        self.assertEqual((answer.choices[0].message.content, answer.choices[0].finish_reason), (ANSWER, "stop"))
        chunks = list(litellm.completion(messages=MESSAGES, temperature=0, stream=True, **settings))
        self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks), ANSWER)
        self.assertEqual(chunks[-1].choices[0].finish_reason, "stop")

    def test_a_response_whole_and_streamed(self):
        settings = {**self.settings, "model": "openai/demo"}
        answer = litellm.responses(input=SOURCE, instructions="Write a synopsis.", temperature=0, **settings)
        self.assertEqual((answer.status, answer.output[0].content[0].text), ("completed", ANSWER))
        self.assertEqual((answer.usage.input_tokens > 1, answer.usage.output_tokens), (True, 10))
        events = list(litellm.responses(input=SOURCE, temperature=0, stream=True, **settings))
        self.assertEqual("".join(event.delta for event in events if event.type == "response.output_text.delta"), ANSWER)
        self.assertEqual(events[-1].type, "response.completed")
        self.assertEqual(events[-1].response.output[0].content[0].text, ANSWER)
        # It asks for 16 tokens where fewer are wanted, as OpenAI's least.
        short = litellm.responses(input=SOURCE, max_output_tokens=16, extra_body={"ignore_eos": True}, **settings)
        self.assertEqual((short.status, short.incomplete_details.reason), ("incomplete", "max_output_tokens"))
        with self.assertRaises(litellm.BadRequestError):
            litellm.responses(input=SOURCE, top_p=1.5, **settings)

    def test_embeddings(self):
        answer = litellm.embedding(input=[SOURCE], **{**self.settings, "model": "openai/demo"})
        self.assertEqual(len(answer.data[0]["embedding"]), 192)

    def test_errors_have_their_classes(self):
        with self.assertRaises(litellm.BadRequestError):
            litellm.text_completion(prompt=SOURCE, top_p=1.5, **self.settings)
        with self.assertRaises(litellm.NotFoundError):
            litellm.text_completion(prompt=SOURCE, **{**self.settings, "model": "text-completion-openai/gpt-9"})


class LangChainTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = cls.enterClassContext(Server())
        cls.settings = {"model": "demo", "base_url": f"{server.address}/v1", "api_key": "any"}

    def test_a_completion_whole_streamed_and_in_a_batch(self):
        model = LangChainOpenAI(temperature=0, max_tokens=24, **self.settings)
        self.assertEqual(model.invoke(SOURCE), ANSWER)
        self.assertEqual("".join(model.stream(SOURCE)), ANSWER)
        self.assertEqual(model.batch([SOURCE, SOURCE]), [ANSWER, ANSWER])

    def test_a_chat_whole_and_streamed(self):
        model = ChatOpenAI(temperature=0, **self.settings)
        answer = model.invoke([("system", "Write a synopsis."), ("human", SOURCE)])
        self.assertEqual(answer.content, ANSWER)
        self.assertEqual(answer.usage_metadata["output_tokens"], 10)
        self.assertEqual("".join(chunk.content for chunk in model.stream(SOURCE)), ANSWER)

    def test_a_response_whole_streamed_and_with_a_schema(self):
        model = ChatOpenAI(temperature=0, use_responses_api=True, **self.settings)
        answer = model.invoke([("system", "Write a synopsis."), ("human", SOURCE)])
        self.assertEqual(answer.text, ANSWER)
        self.assertTrue(answer.response_metadata["id"].startswith("resp_"))
        self.assertEqual(answer.usage_metadata["output_tokens"], 10)
        self.assertEqual("".join(chunk.text for chunk in model.stream(SOURCE)), ANSWER)
        # Its own answer goes back as an item of the next one.
        self.assertEqual(model.invoke([("human", "A game of cards."), answer, ("human", SOURCE)]).text, ANSWER)
        schema = {"title": "package", "type": "object", "properties": {"section": {"enum": ["libs", "doc"]}},
                  "required": ["section"], "additionalProperties": False}
        formed = model.with_structured_output(schema, method="json_schema").invoke(SOURCE)
        self.assertIn(formed["section"], ["libs", "doc"])
        with self.assertRaises(openai.BadRequestError):
            model.invoke(SOURCE, top_p=1.5)

    def test_embeddings_of_documents(self):
        # Its own cutting of texts knows only OpenAI's tokenizers.
        model = OpenAIEmbeddings(check_embedding_ctx_length=False, **self.settings)
        self.assertEqual([len(vector) for vector in model.embed_documents([SOURCE, "A game of cards."])], [192, 192])

    def test_errors_are_openai_s(self):
        with self.assertRaises(openai.BadRequestError):
            LangChainOpenAI(top_p=1.5, **self.settings).invoke(SOURCE)


class BatchesTest(unittest.TestCase):
    """Files and batches as the official client asks for them."""

    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.server = cls.enterClassContext(Server(f'[batches]\nfolder = "{folder}"\n'))
        cls.client = client_of(cls.server.address)

    def upload(self, count, **body):
        line = {"method": "POST", "url": "/v1/completions", "body": {"model": "demo", "prompt": SOURCE, **body}}
        text = "".join(json.dumps({"custom_id": f"r{index}", **line}) + "\n" for index in range(count))
        return self.client.files.create(file=("requests.jsonl", text.encode()), purpose="batch")

    def create(self, file):
        return self.client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h",
                                          metadata={"for": "tests"})

    def ended(self, batch):
        deadline = time.monotonic() + 30
        while batch.status in ("validating", "in_progress", "finalizing", "cancelling"):
            self.assertLess(time.monotonic(), deadline, batch)
            time.sleep(0.05)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def test_a_file_is_answered_and_its_results_are_read(self):
        file = self.upload(3, temperature=0, max_tokens=24)
        self.assertEqual((file.object, file.purpose, file.filename), ("file", "batch", "requests.jsonl"))
        batch = self.ended(self.create(file))
        self.assertEqual((batch.status, batch.request_counts.completed), ("completed", 3), batch)
        self.assertEqual(batch.metadata, {"for": "tests"})
        results = [json.loads(line) for line in self.client.files.content(batch.output_file_id).text.splitlines()]
        self.assertEqual(sorted(result["custom_id"] for result in results), ["r0", "r1", "r2"])
        self.assertEqual({result["response"]["body"]["choices"][0]["text"] for result in results}, {ANSWER})
        self.assertIn(batch.id, [other.id for other in self.client.batches.list(limit=1)])
        self.assertIn(file.id, [other.id for other in self.client.files.list()])
        self.assertTrue(self.client.files.delete(file.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(file.id)

    def test_a_batch_is_cancelled(self):
        batch = self.create(self.upload(500, max_tokens=256, ignore_eos=True))
        self.assertEqual(self.client.batches.cancel(batch.id).status, "cancelling")
        self.assertEqual(self.ended(batch).status, "cancelled")
        with self.assertRaises(openai.ConflictError):
            self.client.batches.cancel(batch.id)

    def test_bad_lines_are_told(self):
        file = self.client.files.create(file=b"no JSON\n", purpose="batch")
        batch = self.ended(self.create(file))
        self.assertEqual((batch.status, batch.errors.data[0].line), ("failed", 1))


if __name__ == "__main__":
    unittest.main()
