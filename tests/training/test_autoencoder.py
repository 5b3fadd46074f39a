"""SAEs for one's own backbone and corpus: the same result after a kill, what is learnt from, and what is refused."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from splare_plugins.backbone import load_backbone
from splare_plugins.config import HEAD_CARD, SideConfig, SplareConfig
from splare_plugins.corpus import read_documents
from splare_plugins.errors import InputError, SplareError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import import_sae
from splare_plugins.heads.record import TENSORS
from splare_plugins.machine.files import read_json
from splare_plugins.model.assemble import assemble
from splare_plugins.model.splare import SplareModel
from splare_plugins.training.autoencoder.coder import Coder, SaeConfig, SparseCoder, TopKLearner
from splare_plugins.training.autoencoder.run import train_sae
from splare_plugins.training.autoencoder.settings import SaeSettings
from splare_plugins.training.autoencoder.states import States
from tests.model.test_assemble import save_llama
from tests.tiny import TEXTS

XQUAD = Path(__file__).parents[2] / "examples" / "data" / "xquad" / "en"
WORDS = " ".join(TEXTS).split()


def texts(count: int, seed: int = 0) -> list[str]:
    """Short texts of a few words."""
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS, k=6)) for _ in range(count)]


def write(path: Path, lines: list[str]) -> Path:
    rows = (json.dumps({"_id": f"d{number}", "text": text}) for number, text in enumerate(lines))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", texts(60))


@pytest.fixture
def settings(tiny_folder: Path) -> SaeSettings:
    return SaeSettings(
        backbone=str(tiny_folder / "backbone"), layer=0, width=64, k=4, tokens=4096, batch=128, buffer=512, seed=3
    )


def opened(settings: SaeSettings, corpus: Path) -> States:
    side = SideConfig(prompt=settings.prompt, max_length=128)
    names = {"name": "x", "revision": "x", "backbone": settings.backbone}
    config = SplareConfig(**names, layer=settings.layer, width=0, document=side)
    backbone = load_backbone(config, Path(), device=torch.device("cpu"), dtype=torch.float32)
    return States(backbone, lambda: read_documents(corpus), config, settings)


def farthest(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest distance of a state to the nearest one of others."""
    distances = torch.cdist(found, expected, compute_mode="donot_use_mm_for_euclid_dist")
    return float(distances.detach().min(1).values.max())


class Killed(BaseException):
    """As Ctrl-C and a signal do, it passes through what catches errors."""


@pytest.mark.parametrize("after", [1, 7, 30])
def test_a_killed_run_goes_on_to_the_same_bits(settings, corpus, tmp_path, after):
    train_sae(settings, corpus, tmp_path / "whole", device="cpu")
    done: list[int] = []

    def kill(tokens: int) -> None:
        done.append(tokens)
        if len(done) == after:
            raise Killed

    with pytest.raises(Killed):
        train_sae(settings, corpus, tmp_path / "sae", device="cpu", save_seconds=0, on_progress=kill)
    assert not (tmp_path / "sae").exists()
    again: list[int] = []
    train_sae(settings, corpus, tmp_path / "sae", device="cpu", save_seconds=0, on_progress=again.append)
    assert sum(again) == settings.tokens
    # Buffers hold two steps to train on, so that at most these are done twice.
    assert len(again) <= settings.steps - after + 3
    whole, parts = (load_file(tmp_path / name / TENSORS) for name in ("whole", "sae"))
    assert all(torch.equal(whole[name], parts[name]) for name in ("W", "b", "theta"))
    assert read_json(tmp_path / "whole" / HEAD_CARD) == read_json(tmp_path / "sae" / HEAD_CARD)
    assert not (tmp_path / "sae.unfinished").exists()


def test_what_is_left_of_another_run_is_not_gone_on_with(settings, corpus, tmp_path):
    def begun(settings: SaeSettings, overwrite: bool = False) -> None:
        calls: list[int] = []

        def later(tokens: int) -> None:
            calls.append(tokens)
            if len(calls) == 6:
                raise Killed

        train_sae(
            settings,
            corpus,
            tmp_path / "sae",
            device="cpu",
            save_seconds=0,
            on_progress=later,
            overwrite=overwrite,
        )

    with pytest.raises(Killed):
        begun(settings)
    with pytest.raises(InputError, match=r"another --seed; give the same options"):
        begun(replace(settings, seed=4))
    with pytest.raises(InputError, match=r"another --lr;"):
        begun(replace(settings, learning_rate=0.1))
    with pytest.raises(InputError, match=r"another --activation;"):
        begun(replace(settings, activation="jumprelu"))
    with pytest.raises(Killed):
        begun(replace(settings, seed=4), overwrite=True)
    write(corpus, texts(61))
    with pytest.raises(InputError, match="another corpus"):
        begun(replace(settings, seed=4))
    (tmp_path / "sae.unfinished").write_bytes(b"no such thing")
    with pytest.raises(InputError, match="not an interrupted training"):
        begun(settings)


def test_the_head_is_the_library_s_autoencoder(settings, corpus, tmp_path):
    states = opened(settings, corpus).read(500)
    learner = TopKLearner(states.shape[1], settings, states.device)
    learner.begin(states)
    for batch in states[:384].split(128):
        learner.step(batch)
    learner.finish()
    learner.coder.save_to_disk(tmp_path / "layers.0")
    library = SparseCoder.load_from_disk(tmp_path / "layers.0")
    values, indices, _ = library.encode(states)
    expected = torch.zeros(len(states), settings.width).scatter(1, indices, values)
    imported = SparseAutoencoder.load(import_sae(str(tmp_path / "layers.0"), output=tmp_path / "imported"))
    found = imported.token_values(states).relu()
    assert torch.allclose(found, expected, atol=1e-5)
    head = train_sae(settings, corpus, tmp_path / "sae", device="cpu")
    assert (head.width, head.k) == (imported.width, imported.k) == (64, 4)
    same = ("suite", "layer", "layers_needed", "hook", "d_model", "activation", "scale", "published_l0")
    assert [head.card[name] for name in same] == [imported.card[name] for name in same]


def test_it_learns_from_a_text_s_own_tokens_alone(settings, corpus):
    settings = replace(settings, prompt="passage: ", width=16)
    states = opened(settings, corpus)
    read = states.read(200)
    documents = [document.content for document in read_documents(corpus)]
    held = [documents[number] for number in range(0, 60, 20)]
    used = [text for text in documents[:16] if text not in held]
    backbone = states.backbone
    own = []
    for tokens in backbone.tokenize(used, "passage: ", 128):
        every, _ = backbone([tokens])
        own.append(every[torch.from_numpy(tokens.keep)])
        assert tokens.keep.sum() == len(tokens.ids) - 2 - len("passage: ")
    expected = torch.cat(own)
    assert len(read) == len(expected)
    assert farthest(read, expected) < 1e-4
    assert farthest(states.held_out(), expected) > 0.01


def test_the_corpus_is_read_again_when_it_ends(settings, corpus):
    states = opened(settings, corpus)
    once = sum(int(tokens.keep.sum()) for tokens in states.backbone.tokenize(texts(60), "", 128))
    once -= len(states.held_out())
    assert len(states.read(once)) == once
    assert (states.passes, states.position) == (1, 0)
    again = states.read(1)
    there = (states.passes, states.position)
    fresh = opened(settings, corpus)
    fresh.go_to(1, 0)
    assert torch.equal(fresh.read(1), again)
    assert (fresh.passes, fresh.position) == there == (1, 16)


def test_the_auxiliary_loss_reaches_the_encoder_of_dead_latents():
    torch.manual_seed(0)
    states, config = torch.randn(64, 16), SaeConfig(num_latents=32, k=2)
    coder = Coder(16, config)
    library = SparseCoder(16, config)
    library.load_state_dict(coder.state_dict())
    dead = torch.arange(32) < 10
    gradients = {}
    for name, each in (("library", library), ("ours", coder)):
        each.whole = True
        out = each(states, dead_mask=dead)
        out.auxk_loss.backward()
        gradients[name] = each.encoder.weight.grad
        assert float(out.auxk_loss.detach()) > 0
    assert float(gradients["ours"][dead].abs().sum()) > 0
    assert not bool(gradients["ours"][~dead].any())
    # Should this fail, the library has mended it, and Coder can go.
    assert not bool(gradients["library"].any())


def test_both_ways_to_encode_learn_the_same():
    torch.manual_seed(0)
    states, config = torch.randn(64, 16), SaeConfig(num_latents=32, k=2)
    coders = [Coder(16, config), Coder(16, config)]
    coders[1].load_state_dict(coders[0].state_dict())
    coders[1].whole = True
    for coder in coders:
        coder(states).fvu.backward()
    for name, weight in coders[0].named_parameters():
        assert torch.allclose(weight.grad, dict(coders[1].named_parameters())[name].grad, atol=1e-6), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation": "relu"}, "no activation 'relu'; choose one of topk, batchtopk, jumprelu"),
        ({"k": 65}, "cannot keep 65 of 64 latents"),
        ({"layer": 2}, "there is no layer 2 .* 0 to 1"),
        ({"tokens": 255}, "--tokens 255 is too little"),
        ({"buffer": 200}, "fewer than two batches"),
        ({"batch": 1}, "no variance"),
        ({"width": 1024, "tokens": 8192}, r"has \d+ tokens .* fewer than the 4096 .* lower --width to \d+"),
        ({"max_length": 4096}, "reads 1 to 128 tokens"),
        ({"backbone": "/no/such/folder"}, "no such folder"),
        ({"learning_rate": 1e30}, "learning rate is too high"),
    ],
)
def test_what_is_no_training_is_refused(settings, corpus, tmp_path, changes, words):
    with pytest.raises(SplareError, match=words):
        train_sae(replace(settings, **changes), corpus, tmp_path / "sae", device="cpu")
    assert not (tmp_path / "sae").exists()


def test_an_output_that_is_there_is_kept(settings, corpus, tmp_path):
    train_sae(settings, corpus, tmp_path / "sae", device="cpu")
    before = (tmp_path / "sae" / TENSORS).read_bytes()
    with pytest.raises(InputError, match="--overwrite"):
        train_sae(replace(settings, seed=4), corpus, tmp_path / "sae", device="cpu")
    assert (tmp_path / "sae" / TENSORS).read_bytes() == before
    train_sae(replace(settings, seed=4), corpus, tmp_path / "sae", device="cpu", overwrite=True)
    assert (tmp_path / "sae" / TENSORS).read_bytes() != before


def test_a_state_that_is_not_finite_is_named(settings, tmp_path):
    lines = texts(60)
    lines[31] = "a ~ b"
    corpus = write(tmp_path / "corpus.jsonl", lines)
    folder = tmp_path / "backbone"
    folder.mkdir()
    for file in Path(settings.backbone).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][vocabulary["~"]] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SplareError, match=r"a state of document d31 \('a ~ b'\) is not finite in float32"):
        train_sae(replace(settings, backbone=str(folder)), corpus, tmp_path / "sae", device="cpu")


def test_many_dead_latents_are_a_warning(settings, corpus, tmp_path, caplog):
    lazy = replace(settings, width=400, k=1, learning_rate=1e-9)
    head = train_sae(lazy, corpus, tmp_path / "sae", device="cpu")
    assert head.card["dead_share"] > 0.5
    assert head.card["dead_after"] == 409
    (record,) = [record for record in caplog.records if "have not fired" in record.getMessage()]
    assert "--width" in record.getMessage()


def test_a_model_takes_over_how_texts_were_read(settings, corpus, tmp_path, caplog):
    settings = replace(settings, prompt="passage: ", max_token_norm_ratio=5.0)
    train_sae(settings, corpus, tmp_path / "sae", device="cpu")
    config = assemble(settings.backbone, str(tmp_path / "sae"), tmp_path / "model")
    assert config.max_token_norm_ratio == 5.0
    assert {config.query.prompt, config.document.prompt} == {"passage: "}
    assert caplog.records == []
    assemble(settings.backbone, str(tmp_path / "sae"), tmp_path / "causal", bidirectional=False)
    assert "omit --causal" in caplog.text


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "jumprelu"])
def test_states_that_are_all_alike_are_refused(settings, tmp_path, activation):
    alike = replace(settings, width=8, k=1, batch=16, buffer=32, tokens=64, activation=activation)
    with pytest.raises(SplareError, match=r"the states of the first \d+ tokens are all alike"):
        train_sae(alike, write(tmp_path / "corpus.jsonl", ["a"] * 60), tmp_path / "sae", device="cpu")
    assert not (tmp_path / "sae").exists()


def test_a_folder_is_known_by_its_hash(settings, corpus, tmp_path, caplog):
    mine, other = (tmp_path / "a" / "gemma-mine", tmp_path / "b" / "gemma-mine")
    for place, seed in ((mine, 0), (other, 1)):
        save_llama(place, seed=seed)
    train_sae(replace(settings, backbone=str(mine)), corpus, tmp_path / "sae", device="cpu")
    card = read_json(tmp_path / "sae" / HEAD_CARD)
    assert (card["base_model"], len(card["backbone_sha256"])) == ("gemma-mine", 64)
    assemble(str(mine), str(tmp_path / "sae"), tmp_path / "model")
    assert caplog.records == []  # its name alone would say that a Llama is no Gemma
    assemble(str(other), str(tmp_path / "sae"), tmp_path / "wrong")
    assert "another backbone, called gemma-mine" in caplog.text


def test_empty_documents_are_passed_over(settings, tmp_path):
    lines = texts(60)
    corpus = write(tmp_path / "corpus.jsonl", ["", *lines[:25], *[""] * 40, *lines[25:]])
    head = train_sae(settings, corpus, tmp_path / "sae", device="cpu")
    assert (head.card["trained_tokens"], head.card["held_out_tokens"] > 100) == (4096, True)
    with pytest.raises(InputError, match="has 0 tokens to train on"):
        train_sae(settings, write(tmp_path / "empty.jsonl", [""] * 60), tmp_path / "none", device="cpu")


@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_the_scale_of_the_states_changes_nothing_but_the_scale(settings, corpus, factor):
    states = opened(settings, corpus).read(1000)
    found = []
    for scaled in (states, states * factor):
        learner = TopKLearner(states.shape[1], settings, states.device)
        learner.begin(scaled)
        for batch in scaled[:768].split(128):
            learner.step(batch)
        learner.finish()
        values, indices, _ = learner.coder.encode(scaled)
        dense = torch.zeros(len(states), settings.width).scatter(1, indices, values)
        found.append((dense, learner.measure(scaled).explained))
    assert found[0][1] == pytest.approx(found[1][1], abs=0.02)
    assert float((found[0][0] - found[1][0]).detach().abs().mean() / found[0][0].detach().mean()) < 0.1


@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_decoder_is_read_as_the_model_will_read_it(settings, corpus, tmp_path, bidirectional):
    backbone = save_llama(tmp_path / "backbone")
    settings = replace(settings, backbone=str(backbone), bidirectional=bidirectional)
    train_sae(settings, corpus, tmp_path / "sae", device="cpu")
    text = next(iter(read_documents(corpus))).content
    config = assemble(str(backbone), str(tmp_path / "sae"), tmp_path / "model", bidirectional=bidirectional)
    model = SplareModel.load(tmp_path / "model", device="cpu")
    expected, _ = model.pooled_tokens(text, "document")
    states = States(model.backbone, lambda: read_documents(corpus), config, settings)
    assert farthest(expected, states.held_out()) < 1e-4
    with torch.no_grad():
        whole, _ = model.backbone(model.backbone.tokenize([text + " more"], "", 128))
    # Only where tokens see what follows does the first one's state depend on it.
    assert torch.allclose(whole[1], expected[0], atol=1e-5) is not bidirectional


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on(settings, corpus, tmp_path):
    """A real one, with a signal that nothing catches."""
    code = """
import os, signal, sys
from pathlib import Path
from splare_plugins.training.autoencoder.run import train_sae
from splare_plugins.training.autoencoder.settings import SaeSettings
done = []
def kill(tokens):
    done.append(tokens)
    if len(done) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
train_sae(SaeSettings(**eval(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), device="cpu", save_seconds=0,
          on_progress=kill)
"""
    arguments = [repr(asdict(settings)), str(corpus), str(tmp_path / "sae")]
    ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert (tmp_path / "sae.unfinished").is_file()
    again: list[int] = []
    train_sae(settings, corpus, tmp_path / "sae", device="cpu", on_progress=again.append)
    train_sae(settings, corpus, tmp_path / "whole", device="cpu")
    assert again[0] > settings.batch
    assert (tmp_path / "sae" / TENSORS).read_bytes() == (tmp_path / "whole" / TENSORS).read_bytes()


@pytest.mark.slow
@pytest.mark.model
def test_it_explains_more_of_a_real_backbone_than_the_untrained(tmp_path):
    settings = SaeSettings(backbone="splare-e5-small", layer=7, width=1024, tokens=8192, batch=512, max_length=128)
    head = train_sae(settings, str(XQUAD), tmp_path / "sae", device="cpu")
    card = head.card
    assert card["explained_variance"] > card["explained_untrained"] + 0.1
    assert (card["l0"], card["held_out_tokens"] > 500, card["dead_share"] < 0.5) == (32.0, True, True)
    config = assemble("splare-e5-small", str(tmp_path / "sae"), tmp_path / "model")
    assert (config.backbone, config.layer) == ("splare-e5-small", 7)
