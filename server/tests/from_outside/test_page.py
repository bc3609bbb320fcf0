"""The page at `/` in a headless Chromium: a stream, its alternatives, beams, errors, keys, a phone, dark
and light.

    python3 -m unittest discover -s server/tests/from_outside -p 'test_page.py'

Pictures are left in target/page.
"""
import json
import os
import time
import unittest

from browser import Browser
from running_server import ROOT, Server

PICTURES = ROOT / "target/page"
SOURCE = "A small library that reads and writes calendar files."
TOKENS = "document.querySelectorAll('.token').length"


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        PICTURES.mkdir(parents=True, exist_ok=True)
        cls.server = cls.enterClassContext(Server())
        cls.browser = cls.enterClassContext(Browser())

    def open(self, address=None, **looks):
        page = self.browser.page((address or self.server.address) + "/", **looks)
        page.wait("!document.getElementById('server').textContent.startsWith('Connecting')")
        return page

    def generate(self, page, count=1):
        page.press("Enter", "ctrl")
        page.wait("document.getElementById('summary').textContent.includes(' tokens in ')")
        self.assertEqual(page.value("document.querySelectorAll('.choice').length"), count)

    def assert_clean(self, page):
        """Nothing was blocked, failed, or asked of another server."""
        for kind in ["Runtime.exceptionThrown", "Log.entryAdded"]:
            self.assertEqual(page.events(kind), [])
        asked = {event["request"]["url"] for event in page.events("Network.requestWillBeSent")}
        self.assertTrue(asked)
        self.assertEqual([url for url in asked if not url.startswith("http://127.0.0.1:")], [])

    def assert_fits(self, page):
        wide = page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        self.assertEqual(wide, 0, "the page does not scroll sideways")

    def test_an_answer_is_streamed_with_probabilities_and_alternatives(self):
        page = self.open()
        page.fill("#source", SOURCE)
        page.fill("#decoder-prompt", "library")
        page.value("window.growth = []; new MutationObserver(() => growth.push(" + TOKENS + "))"
                   ".observe(document.getElementById('choices'), {childList: true, subtree: true})")
        self.generate(page)
        self.assertEqual(page.text(".tokens"), "library for reading and writing CSV files<eos>")
        growth = page.value("[...new Set(growth)].length")
        self.assertGreater(growth, 3, "tokens appear one after the other")
        forced = page.value("[...document.querySelectorAll('.token.forced')].map(token => token.textContent).join('')")
        self.assertEqual(forced, "library")
        self.assertIn("8 tokens", page.text(".choice footer"))
        # By the keyboard: the answer is one stop, and arrows move inside it.
        page.value("document.querySelector('.token').focus()")
        page.press("End")
        page.press("ArrowLeft")
        self.assertEqual(page.value("document.activeElement.textContent"), " files")
        self.assertEqual(page.value("document.querySelectorAll('#alternatives tr').length"), 5)
        self.assertIn("files", page.text("#alternatives tr.chosen"))
        self.assertIn("%", page.text("#alternatives tr.chosen"))
        described = page.value("document.activeElement.getAttribute('aria-describedby')")
        self.assertEqual(described, "alternatives")
        page.screenshot(PICTURES / "answer.png", whole=False)
        page.press("Escape")
        self.assertTrue(page.value("document.getElementById('alternatives').hidden"))
        # By the mouse.
        page.value("document.activeElement.blur()")
        page.point_at(".token:nth-child(4)")
        page.wait("!document.getElementById('alternatives').hidden")
        inside = page.value("(box => box.left >= 0 && box.right <= innerWidth)"
                            "(document.getElementById('alternatives').getBoundingClientRect())")
        self.assertTrue(inside)
        self.assert_clean(page)

    def test_several_answers_stand_side_by_side_and_the_charts_show_them(self):
        page = self.open(dark=True)
        page.click("#example")
        page.fill("#sampling [data-param=n]", "3")
        page.fill("[data-param=temperature]", "1.2")
        page.fill("[data-param=seed]", "9007199254740993")
        page.fill("[data-param=max_tokens]", "200")
        page.value("document.querySelector('[data-param=max_tokens]').dispatchEvent(new Event('change'))")
        self.generate(page, count=3)
        tops = page.value("[...document.querySelectorAll('.choice')].map(choice => choice.getBoundingClientRect().top)")
        self.assertEqual(len(set(tops)), 1)
        first = page.value("[...document.querySelectorAll('.tokens')].map(choice => choice.textContent)")
        self.assertEqual(len(set(first)), 3)
        self.generate(page, count=3)
        again = page.value("[...document.querySelectorAll('.tokens')].map(choice => choice.textContent)")
        self.assertEqual(first, again, "a seed of any size is sent as it was written")
        page.wait("document.querySelectorAll('#charts figure').length === 3")
        page.wait("/cached of [1-9]/.test(document.querySelector('#charts figure:nth-child(2) output').textContent)")
        page.wait("document.querySelector('#charts figure:nth-child(3) .line').getAttribute('d')")
        self.assert_fits(page)
        page.screenshot(PICTURES / "dark.png")
        self.assert_clean(page)

    def test_a_phone_shows_everything_below_each_other(self):
        page = self.open(width=390, height=844, phone=True)
        page.tap("#example")
        page.wait("document.getElementById('source').value")
        page.tap("#generate")
        page.wait("document.getElementById('summary').textContent.includes(' tokens in ')")
        self.assert_fits(page)
        page.value("document.querySelector('.token').scrollIntoView({block: 'center'})")
        page.tap(".token")
        page.wait("!document.getElementById('alternatives').hidden")
        self.assert_fits(page)
        small = page.value("[...document.querySelectorAll('button:not([hidden]):not(.choice *), input, select')]"
                           ".filter(it => it.offsetParent && it.getBoundingClientRect().height < 32).length")
        self.assertEqual(small, 0, "everything can be hit with a finger")
        page.screenshot(PICTURES / "phone.png")
        self.assert_clean(page)

    def test_errors_are_shown_at_the_field_and_read_out(self):
        page = self.open()
        page.press("Enter", "ctrl")
        page.wait("!document.getElementById('problem').hidden")
        self.assertEqual(page.value("document.getElementById('problem').getAttribute('role')"), "alert")
        self.assertEqual(page.value("document.activeElement.id"), "source")
        page.fill("#source", SOURCE)
        page.fill("[data-param=top_p]", "1.5")
        page.press("Enter", "ctrl")
        page.wait("document.getElementById('problem').textContent.includes('top_p')")
        self.assertEqual(page.value("document.activeElement.dataset.param"), "top_p")
        self.assertEqual(page.value("document.activeElement.getAttribute('aria-invalid')"), "true")
        page.screenshot(PICTURES / "error.png")
        page.fill("[data-param=top_p]", "0.9")
        self.generate(page)
        self.assertTrue(page.value("document.getElementById('problem').hidden"))

    def choose_beams(self, page):
        """As the keyboard does it."""
        page.value("document.getElementById('method').focus()")
        page.press("ArrowDown")
        page.wait("!document.getElementById('search').hidden")

    def test_a_beam_search_shows_its_hypotheses_side_by_side_best_first(self):
        page = self.open()
        page.fill("#source", SOURCE)
        page.fill("[data-param=temperature]", "0.7")
        page.fill("[data-param=stop]", "zebra")
        self.assertIsNone(page.value("document.querySelector('#sampling:disabled')?.id ?? null"))
        self.choose_beams(page)
        page.fill("#search [data-param=n]", "2")
        page.fill("[data-param=length_penalty]", "0.8")
        page.value("window.growth = []; new MutationObserver(() => growth.push(document.querySelector('.tokens')"
                   "?.textContent)).observe(document.getElementById('choices'), {childList: true, subtree: true})")
        self.generate(page, count=2)
        sent = [event["request"] for event in page.events("Network.requestWillBeSent")]
        asked = json.loads([request["postData"] for request in sent if request["method"] == "POST"][-1])
        unwanted = {"temperature", "top_k", "top_p", "min_p", "seed", "logprobs"}
        self.assertEqual(unwanted & asked.keys(), set())
        self.assertIn("zebra", asked["stop"])
        wanted = {"use_beam_search": True, "n": 2, "best_of": 4, "length_penalty": 0.8}
        self.assertEqual(asked, asked | wanted)
        scores = page.value("[...document.querySelectorAll('.score')].map(score => score.textContent)")
        scores = [float(score.removeprefix("score ")) for score in scores]
        self.assertEqual(len(scores), 2)
        self.assertGreater(scores[0], scores[1])
        texts = page.value("[...document.querySelectorAll('.tokens')].map(text => text.textContent)")
        self.assertEqual(len(set(texts)), 2)
        shared = page.value("[...document.querySelectorAll('.shared')].map(text => text.textContent)")
        growth = page.value("growth.filter(text => text)")
        self.assertLess(len(growth[0]), len(texts[0]), "what is agreed on comes before the end")
        self.assertTrue(all(texts[0].startswith(text) for text in growth))
        self.assertEqual(shared, [os.path.commonprefix(texts)] * 2)
        boxes = page.value("[...document.querySelectorAll('.choice')].map(box => box.getBoundingClientRect().top)")
        self.assertEqual(len(set(boxes)), 1, "they stand next to each other")
        # What a search does not take is off and says why.
        self.assertTrue(page.value("[...document.querySelectorAll('#sampling [data-param]')]"
                                   ".every(field => field.matches(':disabled'))"))
        reason = page.value("document.getElementById(document.getElementById('sampling')"
                            ".getAttribute('aria-describedby')).innerText")
        self.assertIn("draws no tokens", reason)
        page.screenshot(PICTURES / "beams.png")
        # Sampled answers are as before, with the values that were there.
        page.value("document.getElementById('method').focus()")
        page.press("ArrowUp")
        page.wait("document.getElementById('search').hidden")
        self.assertEqual(page.value("document.querySelector('[data-param=temperature]').value"), "0.7")
        self.generate(page)
        self.assertGreater(page.value(TOKENS), 0)
        self.assert_clean(page)

    def test_an_error_of_a_beam_search_is_shown_at_its_field(self):
        page = self.open()
        page.fill("#source", SOURCE)
        self.choose_beams(page)
        page.fill("#search [data-param=n]", "5")
        page.press("Enter", "ctrl")
        page.wait("document.getElementById('problem').textContent.includes('best_of')")
        self.assertEqual(page.value("document.activeElement.dataset.param"), "best_of")
        self.assertEqual(page.value("document.querySelectorAll('[aria-invalid]').length"), 1)
        page.fill("[data-param=best_of]", "6")
        self.generate(page, count=5)
        self.assertTrue(page.value("document.getElementById('problem').hidden"))

    def test_a_beam_search_fits_a_narrow_phone_in_the_dark(self):
        page = self.open(width=360, height=740, phone=True, dark=True)
        page.tap("#example")
        self.choose_beams(page)
        page.value("document.getElementById('generate').scrollIntoView({block: 'center'})")
        page.tap("#generate")
        page.wait("document.querySelectorAll('.score:not(:empty)').length === 3")
        self.assert_fits(page)
        page.screenshot(PICTURES / "beams-phone.png")
        self.assert_clean(page)

    def test_nothing_that_a_text_says_becomes_markup(self):
        page = self.open()
        evil = "<img src=x onerror=\"window.hurt=1\"><script>window.hurt=1</script>"
        page.fill("#source", evil)
        page.fill("#decoder-prompt", evil)
        page.fill("[data-param=stop]", evil)
        self.generate(page)
        self.assertTrue(page.text(".tokens").startswith(evil))
        self.assertIsNone(page.value("window.hurt ?? null"))
        self.assertEqual(page.value("document.querySelectorAll('main img, main script').length"), 0)
        self.assert_clean(page)

    def test_an_answer_can_be_stopped_and_an_end_of_the_server_is_said(self):
        with Server() as server:
            page = self.open(server.address)
            page.fill("#source", SOURCE)
            page.fill("[data-param=max_tokens]", "1000")
            page.fill("[data-param=temperature]", "9")
            page.fill("#sampling [data-param=n]", "16")
            page.press("Enter", "ctrl")
            page.wait(TOKENS + " > 3")
            page.press("Escape")
            page.wait("document.getElementById('summary').textContent === 'Stopped.'")
            self.assertTrue(page.value("document.getElementById('stop').disabled"))
        page.press("Enter", "ctrl")
        page.wait("document.getElementById('problem').textContent === 'The server cannot be reached.'")
        page.wait("document.getElementById('server').textContent === 'The server cannot be reached.'")

    def test_a_key_is_sent_and_stays_in_its_tab(self):
        page = self.open()
        page.click("#access summary")
        page.fill("#key", "secret-of-the-test")
        page.press("Tab")
        page.fill("#source", SOURCE)
        self.generate(page)
        sent = [event["request"] for event in page.events("Network.requestWillBeSent")]
        posts = [request for request in sent if request["method"] == "POST"]
        self.assertEqual(posts[-1]["headers"].get("authorization"), "Bearer secret-of-the-test")
        self.assertEqual(page.value("sessionStorage.length + localStorage.length + document.cookie.length"), 1)
        other = self.open()
        self.assertEqual(other.value("document.getElementById('key').value"), "")

    def test_it_can_be_reached_with_the_tab_key_alone(self):
        page = self.open()
        reached = set()
        for _ in range(24):
            page.press("Tab")
            reached.add(page.value("document.activeElement.id || document.activeElement.dataset.param || ''"))
        wanted = {"source", "decoder-prompt", "generate", "example", "max_tokens", "n", "temperature", "seed", "stop"}
        self.assertEqual(wanted - reached, set())


if __name__ == "__main__":
    start = time.monotonic()
    unittest.main(verbosity=2, exit=False)
    print(f"{time.monotonic() - start:.1f} s")
