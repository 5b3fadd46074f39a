"""The search page in a real browser, by its keyboard, on a phone, and an explanation that was saved.

Without a browser these are left out; where SPLARE_BROWSER is "required", as in continuous integration, they fail then.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from splare_plugins.model.explanation import explain
from tests.serving.collection import QUERY, SCRIPT, TEXTS, build, opened
from tests.serving.conftest import running
from tests.serving.test_page import ranking

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if PROGRAM is None and os.environ.get("SPLARE_BROWSER") != "required":
    pytest.skip("the search page wants a browser: apt-get install chromium", allow_module_level=True)

pytestmark = pytest.mark.slow  # one process, which starts the browser once
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert PROGRAM is not None, "there is no browser: apt-get install chromium"
    with sync_playwright() as playwright:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=root)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tiny, tmp_path_factory):
    place = tmp_path_factory.mktemp("browser") / "index"
    build(tiny, place, TEXTS)
    with running(lambda device: tiny, index=opened(place)) as client:
        yield client


class Tab:
    """A page, and what went wrong in it."""

    def __init__(self, browser: Browser, address: str, **options) -> None:
        self.page: Page = browser.new_page(**options)
        self.page.set_default_timeout(10_000)
        self.wrong: list[str] = []
        self.page.on(
            "console", lambda told: self.wrong.append(told.text) if told.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        own = address.split("#")[0]
        self.page.on(
            "request", lambda asked: None if asked.url.startswith((own, "blob:")) else self.wrong.append(asked.url)
        )
        self.page.goto(address)

    def search(self, query: str) -> None:
        self.page.fill("#query", query)
        self.page.keyboard.press("Enter")
        self.settled()

    def settled(self) -> None:
        """Until every hit of the last request is explained."""
        self.page.wait_for_selector("#hits:not([data-explained=''])[data-explained]", state="attached")

    def hits(self) -> list[tuple[str, int]]:
        rows = self.page.locator("#hits .hit").all()
        shown = [row.locator("h3 .soft").inner_text().strip().replace(",", "") for row in rows]
        return [(row.get_attribute("data-docid") or "", int(score)) for row, score in zip(rows, shown, strict=True)]

    def serious(self) -> list[str]:
        found = Axe().run(self.page).response["violations"]
        return [f"{each['id']}: {each['help']}" for each in found if each["impact"] in ("serious", "critical")]


@pytest.fixture
def tab(browser, server) -> Iterator[Tab]:
    tab = Tab(browser, f"{server.url}/")
    yield tab
    tab.page.close()
    assert tab.wrong == []


def test_a_latent_is_switched_off_and_the_ranking_follows(tab, tiny):
    tab.search(QUERY)
    assert tab.hits() == ranking(tiny)[:10]
    # The strongest latent, off by the keyboard: Tab to its switch, Space.
    first = tab.page.locator("#latents .latent").first
    term = first.get_attribute("data-term")
    first.locator("[type=checkbox]").focus()
    tab.page.keyboard.press("Space")
    expect(tab.page.locator("#latents .latent").first).to_have_class(re.compile(r"\boff\b"))
    tab.settled()
    assert tab.hits() == ranking(tiny, {term: 0})[:10] != ranking(tiny)[:10]
    # The keyboard stays where it was, and the next Tab leads to the factor of the same latent.
    assert tab.page.evaluate("document.activeElement.closest('.latent').dataset.term") == term
    tab.page.locator("#latents .latent").nth(1).locator("[type=range]").focus()
    up = tab.page.locator("#latents .latent").nth(1).get_attribute("data-term")
    tab.page.keyboard.press("End")
    expect(tab.page).to_have_url(re.compile(f"{up}%3D3"))
    tab.settled()
    assert tab.hits() == ranking(tiny, {term: 0, up: 3})[:10]
    # The address is a link to all this.
    other = Tab(tab.page.context.browser, tab.page.url)
    other.settled()
    assert (other.hits(), other.wrong) == (tab.hits(), [])
    assert other.page.input_value("#query") == QUERY
    other.page.close()
    tab.page.click("#reset")
    expect(tab.page.locator("#latents .latent.off")).to_have_count(0)
    tab.settled()
    assert tab.hits() == ranking(tiny)[:10]


def test_budgets_have_their_cost_and_words_stand_beside(tab, tiny):
    tab.search(QUERY)
    tab.page.locator("#query-budget").fill("4")
    expect(tab.page.locator("#query-cost")).to_contain_text("4 latents asked")
    tab.settled()
    assert sorted(tab.hits()) == sorted(ranking(tiny, query_top_k=4)[:10])
    tab.page.locator("#document-budget").fill("10")
    expect(tab.page.locator("#document-cost")).to_contain_text("10: ")
    tab.settled()
    found = dict(ranking(tiny, query_top_k=4, document_top_k=10))
    assert all(found[docid] == score for docid, score in tab.hits())
    tab.page.check("#words")
    expect(tab.page.locator("#word-hits .hit").first).to_contain_text("fox")


def test_evidence_is_marked_word_for_word_and_markup_is_text(tab):
    tab.search("a quick fox " + SCRIPT)
    row = tab.page.locator("#hits .hit[data-docid^=markup]")
    assert row.locator(".text").inner_text() == TEXTS[f"markup{SCRIPT}"]
    assert row.locator("h3 bdi").inner_text() == f"markup{SCRIPT}"
    assert tab.page.locator("main script, main img").count() == 0
    assert tab.page.title() == "SPLARE search"
    # Characters beyond the first 65,536 count as one: the marks stand where the words do.
    tab.search("狐狸 🦊 快速")
    text = tab.page.locator("#hits .hit[data-docid=zh] .text")
    assert text.inner_text() == TEXTS["zh"]
    words = text.locator(".word").all_inner_texts()
    assert words and all(word in TEXTS["zh"] for word in words)
    # A word that the pointer is on tells its latents, and marks the first one's words and its row.
    text.locator(".word").first.hover()
    term = (text.locator(".word").first.get_attribute("data-terms") or "").split()[0]
    expect(tab.page.locator("#told")).to_contain_text(term)
    expect(tab.page.locator("#told")).to_contain_text("% of its peak")
    assert all(term in (each.get_attribute("data-terms") or "") for each in tab.page.locator(".word.lit").all())
    tab.page.locator("h1").hover()
    expect(tab.page.locator("#told")).to_be_hidden()
    # A latent that has the keyboard marks its words.
    tab.page.locator("#latents .latent [type=checkbox]").first.focus()
    assert tab.page.locator(".word.lit").count() > 0


def test_the_explanation_is_exported(tab, tmp_path):
    tab.search(QUERY)
    with tab.page.expect_download() as saved:
        tab.page.click("#export")
    saved.value.save_as(tmp_path / "explanation.html")
    assert saved.value.suggested_filename == "explanation.html"
    assert "Why these documents were found" in (tmp_path / "explanation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("scheme", "size"), [("light", {"width": 1300, "height": 900}), ("dark", PHONE)])
def test_nothing_serious_for_people_who_see_or_move_differently(browser, server, scheme, size):
    tab = Tab(browser, f"{server.url}/#words=1", color_scheme=scheme, viewport=size)
    assert tab.serious() == []
    tab.search(QUERY)
    tab.page.evaluate("document.getElementById('latents-box').open = true")
    assert tab.serious() == []
    # Nothing is wider than the screen.
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert tab.wrong == []
    tab.page.close()


def test_a_hundred_thousand_characters(tab):
    tab.search("fox " * 25_000)
    expect(tab.page.locator("#notes")).to_contain_text("longer than the model reads")
    expect(tab.page.locator("#link")).to_have_text("Too long for a link")
    assert tab.hits() and len(tab.page.url) < 100


def test_what_is_wrong_in_a_link_is_told(browser, server):
    tab = Tab(browser, f"{server.url}/#q=fox&steer=f1%3D-2")
    expect(tab.page.locator("#alert")).to_contain_text("finite number of at least 0")
    tab.page.close()


def test_a_model_that_is_still_loading(browser, tiny, tmp_path):
    build(tiny, tmp_path / "index", TEXTS)
    gate = threading.Event()

    def load(device: str):
        assert gate.wait(20)
        return tiny

    with running(load, ready=False, index=opened(tmp_path / "index")) as client:
        tab = Tab(browser, f"{client.url}/")
        tab.page.fill("#query", QUERY)
        tab.page.keyboard.press("Enter")
        expect(tab.page.locator("#status")).to_contain_text("still being loaded")
        gate.set()
        tab.settled()
        assert tab.hits() == ranking(tiny)[:10]
        assert tab.wrong == []
        tab.page.close()


def test_an_index_that_is_replaced_while_the_page_is_open(browser, tiny, tmp_path):
    texts = {"old": "the quick fox", "new": "the quick fox of another index"}
    build(tiny, tmp_path / "index", {"old": texts["old"]})
    with running(lambda device: tiny, index=opened(tmp_path / "index", texts)) as client:
        tab = Tab(browser, f"{client.url}/")
        tab.search(QUERY)
        assert [docid for docid, _ in tab.hits()] == ["old"]
        build(tiny, tmp_path / "index", {"new": texts["new"]})
        tab.page.locator("#latents .latent [type=checkbox]").first.uncheck()
        expect(tab.page.locator("#notes")).to_contain_text("The index was replaced while this page was open")
        tab.settled()
        assert [docid for docid, _ in tab.hits()] == ["new"]
        assert tab.wrong == []
        tab.page.close()


def test_a_token_is_asked_for_and_kept(browser, tiny, tmp_path):
    build(tiny, tmp_path / "index", TEXTS)
    with running(lambda device: tiny, index=opened(tmp_path / "index"), token="secret") as client:
        tab = Tab(browser, f"{client.url}/#q=fox")
        tab.page.fill("#token", "secret")
        tab.page.keyboard.press("Enter")
        tab.settled()
        assert tab.hits()
        tab.page.reload()
        tab.settled()
        assert "secret" not in tab.page.url
        tab.page.close()


def test_a_saved_explanation_by_keyboard(browser, tiny, tmp_path):
    told = explain(tiny, f"the quick {SCRIPT} fox", TEXTS[f"markup{SCRIPT}"], docid=f"markup{SCRIPT}")
    file: Path = tmp_path / "why.html"
    file.write_text(told.to_html(), encoding="utf-8")
    for scheme in ("light", "dark"):
        tab = Tab(browser, file.as_uri(), color_scheme=scheme, viewport=PHONE)
        tab.page.keyboard.press("Tab")
        focused = tab.page.locator(":focus")
        term = focused.get_attribute("data-l")
        expect(focused.locator(".tip")).to_be_visible()
        outlined = "[...document.querySelectorAll('.word')].filter((e) => getComputedStyle(e).outlineStyle !== 'none')"
        marked = tab.page.evaluate(f"{outlined}.map((e) => e.dataset.all.split(' '))")
        assert len(marked) > 1 and all(term in terms for terms in marked)
        assert tab.serious() == []
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert tab.wrong == []
        tab.page.close()


def test_steering_in_a_link_is_what_the_library_steers(browser, server, tiny):
    weights = {"f3": "@80", "f1": 0.5}
    tab = Tab(browser, f"{server.url}/#q=the+quick+fox&steer=f3%3D%4080%2Cf1%3D0.5")
    tab.settled()
    assert tab.hits() == ranking(tiny, weights)[:10]
    put_in = tab.page.locator(".latent[data-term=f3]")
    expect(put_in.locator(".factor")).to_have_text("@80")
    put_in.locator("[type=checkbox]").uncheck()
    expect(put_in).to_have_count(0)
    tab.page.close()
