"""``splare labels build`` and ``splare inspect --latent``."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from contextlib import redirect_stdout
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO

import pytest

from splare_plugins.cli.app import main
from splare_plugins.heads.labels import LABELS, about_labels
from splare_plugins.latents.build import FEWEST, save_labelled
from splare_plugins.latents.table import LatentLabel, Shown, write_table
from splare_plugins.model.explanation import explain
from splare_plugins.model.splare import SplareModel
from tests.model.test_splade import save_random
from tests.tiny import save_tiny_model

WORDS = ("fox", "index", "latent", "Hund", "搜索", "dog", "state", "[bold]mark", "<script>")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "news.jsonl"
    texts = (f"the {WORDS[n % 9]} and {WORDS[n // 9 % 9]} of number {n % 7}" for n in range(FEWEST + 60))
    path.write_text("".join(json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model", width=64)


@pytest.fixture(scope="module")
def labelled(folder, corpus, tmp_path_factory):
    """The folder of a model with labels, which no test changes, and what was said when they were made."""
    output = tmp_path_factory.mktemp("labels") / "labelled"
    arguments = ["labels", "build", folder, f"en={corpus}", "-q", corpus, "-o", output, "--json"]
    with redirect_stdout(StringIO()) as said, pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    assert not stop.value.code
    return output, json.loads(said.getvalue())


def test_a_model_gets_labels(splare, labelled, folder, tmp_path):
    output, made = labelled
    assert made["named"] + made["examples"] == made["asked_latents"] > 0
    assert 0 < made["forced_choice"] <= 1
    assert f"{made['forced_choice']:.1%} of choices" in (output / "README.md").read_text(encoding="utf-8")
    model = SplareModel.from_pretrained(output, device="cpu")
    latent, label = next(iter(model.head.labels.items()))
    shown = splare("inspect", output, "--latent", f"f{latent}", "--json").facts
    assert shown["text"] == label.text == model.head.name(latent)
    assert label.text.startswith("e.g. ") == (shown["score"] is None or shown["score"] < 0.8)
    words = [context["word"].casefold() for context in shown["contexts"]]
    assert len(set(words)) == len(words) > 0
    assert shown["documents"] > 0
    assert shown["languages"]["en"] > 0
    assert len(shown["directions"]) == 5
    text = splare("inspect", output, "--latent", latent)
    assert all(context["text"] in text.out for context in shown["contexts"])
    # Labels stay with the model's own weights, and with no others.
    model.save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "head" / LABELS).is_file()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    model.head.save(fresh)
    assert not (fresh / LABELS).exists()


HOSTILE = (
    "[red]three[/red] \\\\[/] :fox: \x1b[31mred\x1b]0;title\x07 \x9b2J\x00\r <script>alert(1)</script> &amp; http://x"
)


def test_markup_and_control_characters_are_shown_and_never_obeyed(splare, labelled, tmp_path):
    """Of a label, its writer, a language, a context and its source, as a model from elsewhere may have them."""
    folder = tmp_path / "hostile"
    shutil.copytree(labelled[0], folder)
    model = SplareModel.from_pretrained(folder, device="cpu")
    latent = int(explain(model, "fox", "fox").matches[0].term[1:])
    start = HOSTILE.index("\x1b[31mred")
    shown = Shown(text=HOSTILE, start=start, end=start + 8, weight=1.0, language="[b]", source=HOSTILE)
    row = LatentLabel(
        latent=latent, text=HOSTILE, source=HOSTILE, languages={HOSTILE: 2}, contexts=[shown], neighbours=[(latent, 1)]
    )
    write_table(folder / "head" / LABELS, [row], model.config, {})
    seen = "".join(each for each in HOSTILE if each.isprintable())
    inspecting, explaining = ["inspect", folder, "--latent", latent], ["explain", "fox", "fox", "-M", folder]
    for verb, times in ((inspecting, 6), (["inspect", folder], 1), (explaining, 1)):
        told = splare(*verb)
        assert (told.status, told.out.count(seen)) == (0, times), told.out
        # A script gets all of it, in a line that a terminal may show as well.
        for each in (told.out, splare(*verb, "--json").out):
            assert all(character.isprintable() or character == "\n" for character in each)
    facts = splare(*inspecting, "--json").facts
    assert facts["contexts"] == [{**asdict(shown), "word": "\x1b[31mred"}]
    assert (facts["text"], facts["source"], facts["languages"]) == (HOSTILE, HOSTILE, {HOSTILE: 2})
    assert splare(*explaining, "--json").facts["matches"][0]["name"] == HOSTILE
    # In the file for a browser all of it is text.
    assert splare(*explaining, "-o", tmp_path / "why.html").status == 0
    page = (tmp_path / "why.html").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)&lt;/script&gt; &amp;amp;" in page
    assert splare(*explaining, "-o", tmp_path / "why.txt").status == 0
    assert "\x1b" not in (tmp_path / "why.txt").read_text(encoding="utf-8")


def test_no_model_without_its_labels_is_left(tiny, tmp_path):
    class Unwritable:
        @property
        def rows(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_labelled(tiny, tmp_path / "labelled", Unwritable())
    assert list(tmp_path.iterdir()) == []


def test_another_models_labels_are_refused(splare, labelled, tmp_path):
    other = save_tiny_model(tmp_path / "other", width=64, seed=1)
    shutil.copy(labelled[0] / "head" / LABELS, other / "head" / LABELS)
    for verb in (["inspect", other, "--latent", "3"], ["inspect", other], ["explain", "fox", "fox", "-M", other]):
        outcome = splare(*verb)
        assert outcome.status == 2, verb
        assert "labels of another model" in outcome.err


def test_bad_input(splare, labelled, folder, corpus, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text('{"_id": "1", "text": "A sentence that is alone."}\n')
    splade = tmp_path / "splade"
    SplareModel.from_pretrained(save_random(tmp_path / "raw", "BertForMaskedLM"), device="cpu").save_pretrained(splade)
    before = (labelled[0] / "head" / LABELS).read_bytes()
    for arguments, words in (
        (["inspect", folder, "--latent", 64], "numbered from 0 to 63"),
        (["inspect", folder, "--latent", "dog"], "such as 7336"),
        (["inspect", corpus.parent, "--latent", 1], ""),
        (["labels", "build", folder, few, "-o", tmp_path / "new"], "too few"),
        (["labels", "build", corpus.parent, corpus, "-o", tmp_path / "new"], ""),
        (["labels", "build", splade, corpus, "-o", tmp_path / "new"], "their own labels"),
        (["labels", "build", labelled[0], corpus, "-o", labelled[0]], "--overwrite"),
        (["labels", "build", folder, corpus, "-o", tmp_path / "new", "--llm", "no-such-program"], "cannot be run"),
    ):
        outcome = splare(*arguments)
        assert outcome.status == 2, arguments
        assert words in outcome.err
        assert not (tmp_path / "new").exists()
    assert (labelled[0] / "head" / LABELS).read_bytes() == before


class _Service(BaseHTTPRequestHandler):
    prompts: list[str] = []  # noqa: RUF012

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.prompts.append(body["messages"][0]["content"])
        answer = {"choices": [{"message": {"content": '"animals\x1b and numbers"\nmore'}}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments):
        pass


def test_a_language_model_writes_labels_where_it_is_named(splare, folder, corpus, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = tmp_path / "writer.py"
    script.write_text("import sys\nassert '>>' in sys.stdin.read()\nprint('animals and numbers')\n")
    address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        for number, place in enumerate((address, f"{sys.executable} {script}")):
            output = tmp_path / str(number)
            wanted = ["--llm", place, "--llm-latents", 2]
            made = splare("labels", "build", folder, corpus, "-o", output, *wanted, "--json")
            assert made.status == 0, made.err
            written = about_labels(output / "head" / LABELS)["written_by"]
            assert sorted(written.values())[0] == 2
            texts = [label.text for label in SplareModel.from_pretrained(output, device="cpu").head.labels.values()]
            assert sum(text.endswith("animals and numbers") for text in texts) == 2
    finally:
        server.shutdown()
        server.server_close()
    assert len(_Service.prompts) == 2
    assert os.environ.get("OPENAI_API_KEY", "no key") not in "".join(_Service.prompts)
