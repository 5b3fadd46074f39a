"""Checkpoints of sentence-transformers in our engines: ``st:FOLDER``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from splare_plugins.engines import get_engine
from splare_plugins.errors import InputError
from splare_plugins.model.describe import describe_model
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.explain import explain
from splare_plugins.st import SplareEncoder, StModel
from tests.cli.conftest import small_data, splare  # noqa: F401 (fixtures)
from tests.contract.conftest import assert_exact, build
from tests.machine.failing import contents, fail_to_publish
from tests.tiny import TEXTS, byte_tokenizer

LONG = [*TEXTS, "long " * 900]
QUERIES = ["what does a fox do", "sparse latents", "ein Suchindex", "搜索"]


@pytest.fixture(scope="module")
def checkpoint(splade_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real SPLADE model as sentence-transformers saves it."""
    from sentence_transformers import SparseEncoder

    folder = tmp_path_factory.mktemp("st") / "splade"
    SparseEncoder(str(splade_wheel), device="cpu", prompts={"query": "search: "}).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def inference_free(splade_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for documents, and a static weight of each token for queries."""
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Router, Transformer
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling

    documents = Transformer(str(splade_wheel), transformer_task="fill-mask", max_seq_length=64)
    idf = torch.rand(len(documents.tokenizer), generator=torch.Generator().manual_seed(0)) * 9
    router = Router.for_query_document(
        [SparseStaticEmbedding(documents.tokenizer, weight=idf, frozen=True)],
        [documents, SpladePooling("max", activation_function="log1p_relu")],
    )
    folder = tmp_path_factory.mktemp("st") / "free"
    SparseEncoder(modules=[router], similarity_fn_name="dot", device="cpu").save_pretrained(str(folder))
    return folder


def load(folder: Path) -> StModel:
    model = SplareModel.from_pretrained(f"st:{folder}", device="cpu")
    assert isinstance(model, StModel)
    return model


@pytest.mark.slow
def test_a_splade_checkpoint_gives_the_same_vectors_three_ways(checkpoint):
    from sentence_transformers import SparseEncoder

    model, ours = load(checkpoint), SplareModel.from_pretrained(checkpoint, device="cpu")
    theirs = SparseEncoder(str(checkpoint), device="cpu")
    for one, other, encode in (
        (model.encode_documents(LONG), ours.encode_documents(LONG), theirs.encode_document),
        (model.encode_queries(LONG), ours.encode_queries(LONG), theirs.encode_query),
    ):
        np.testing.assert_allclose(one.toarray(), other.toarray(), atol=1e-5)
        np.testing.assert_allclose(one.toarray(), encode(LONG, convert_to_sparse_tensor=False).numpy(), atol=1e-5)
    assert (model.encode_queries(TEXTS) != model.encode_documents(TEXTS)).nnz  # the prompt


def test_order_batches_windows_and_top_k_are_ours(checkpoint):
    model = load(checkpoint)
    texts = [*LONG, "", " "]
    whole = model.encode_documents(texts)
    assert (np.diff(whole.indptr) > 0).tolist() == [True] * len(LONG) + [False, False]
    single = model.encode_documents(texts, tokens_per_batch=1)
    np.testing.assert_allclose(single.toarray(), whole.toarray(), atol=1e-5)
    windows = list(model.stream_documents(iter(texts), window=3))
    np.testing.assert_allclose(np.vstack([part.weights.toarray() for part in windows]), whole.toarray(), atol=1e-5)
    assert [cut for part in windows for cut in part.truncated] == [text == LONG[-1] for text in texts]
    assert np.diff(model.encode_documents(TEXTS, top_k=5).indptr).max() == 5
    assert model.encode_documents([]).shape == (0, 30522)


@pytest.mark.parametrize("engine", ["memory", pytest.param("lucene", marks=pytest.mark.java)])
def test_an_inference_free_checkpoint_end_to_end(inference_free, engine, tmp_path):
    from sentence_transformers import SparseEncoder

    model, theirs = load(inference_free), SparseEncoder(str(inference_free), device="cpu")
    assert model.config.document.max_length == 64
    found = [model.encode_queries(QUERIES).toarray(), model.encode_documents(LONG).toarray()]
    expected = [
        encode(texts, convert_to_sparse_tensor=False).numpy()
        for encode, texts in (
            (theirs.encode_query, QUERIES),
            (theirs.encode_document, LONG),
        )
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    model.calibrate(QUERIES, LONG)
    queries = model.quantizer.queries(model.encode_queries(QUERIES)).impacts
    documents = model.quantizer.documents(model.encode_documents(LONG)).impacts
    docids = [f"d{number}" for number in range(len(LONG))]
    build(get_engine(engine), str(tmp_path / "index"), docids, documents, model.config)
    with get_engine(engine).searcher(str(tmp_path / "index")) as searcher:
        model.config.require_same_index(searcher.config, "the index")
        assert_exact(searcher.search(queries, 10), queries, docids, documents, 10)


def test_explanations_name_tokens_and_words(checkpoint, inference_free):
    for folder in (checkpoint, inference_free):
        model = load(folder)
        model.calibrate(TEXTS, TEXTS)
        best = explain(model, QUERIES[0], TEXTS[0]).matches[0]
        assert (best.name, best.query_word, best.document_word) == ("fox", "fox", "fox")


def test_a_calibrated_copy_is_the_same_model_for_both_sides(checkpoint, tmp_path):
    from sentence_transformers import SparseEncoder

    model = load(checkpoint)
    with pytest.raises(InputError, match="splare calibrate"):
        _ = model.quantizer
    model.calibrate(TEXTS, TEXTS)
    model.save_pretrained(tmp_path / "copy")
    for name in (tmp_path / "copy", f"st:{tmp_path / 'copy'}"):
        loaded = SplareModel.from_pretrained(name, device="cpu")
        assert isinstance(loaded, StModel)
        assert loaded.config == model.config == describe_model(name).config
        assert (loaded.encode_documents(TEXTS) != model.encode_documents(TEXTS)).nnz == 0
    stock = SparseEncoder(str(tmp_path / "copy"), device="cpu")
    found = stock.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    np.testing.assert_allclose(found, model.encode_documents(TEXTS).toarray(), atol=1e-5)
    assert describe_model(f"st:{checkpoint}").config.fingerprint() == model.config.fingerprint()
    weights = tmp_path / "copy" / "vocab.txt"
    weights = weights if weights.is_file() else tmp_path / "copy" / "tokenizer.json"
    weights.write_bytes(weights.read_bytes() + b"\n")
    with pytest.raises(InputError, match="was changed since it was calibrated"):
        SplareModel.from_pretrained(tmp_path / "copy", device="cpu")


def test_a_copy_over_another_is_whole_or_nothing(checkpoint, tmp_path, monkeypatch):
    model = load(checkpoint)
    model.save_pretrained(tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("mine")
    before = contents(tmp_path)
    with monkeypatch.context() as failing:
        fail_to_publish(failing)
        with pytest.raises(InputError, match=r"cannot write .*Input/output error"):
            model.save_pretrained(tmp_path / "copy")
    assert contents(tmp_path) == before
    model.save_pretrained(tmp_path / "copy")
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_the_program_takes_it(checkpoint, splare, small_data, tmp_path):  # noqa: F811
    corpus = small_data / "xquad" / "en"
    done = splare("calibrate", f"st:{checkpoint}", corpus, "-o", tmp_path / "copy", "--sample", 20)
    assert done.status == 0, done.err
    done = splare("index", "memory", corpus, "-o", tmp_path / "index", "--model", f"st:{tmp_path / 'copy'}", "--json")
    assert done.status == 0, done.err
    assert done.facts["indexed"] == 12
    run = tmp_path / "run"
    done = splare("search", tmp_path / "index", corpus, "-o", run, "-M", tmp_path / "copy", "--engine", "memory")
    assert done.status == 0, done.err
    done = splare("evaluate", corpus, run, "--json")
    assert done.facts["nDCG@10"] > 0.7
    assert splare("inspect", tmp_path / "copy").status == 0
    done = splare("encode", corpus, "-o", tmp_path / "encoded", "--model", f"st:{checkpoint}")
    assert (done.status, "splare calibrate" in done.err) == (2, True)


def refused(name: str | Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        SplareModel.from_pretrained(name, device="cpu")
    assert "\n" not in str(caught.value)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_wrong_folders_are_refused(checkpoint, tiny_folder, tmp_path):
    encoder = SplareEncoder.from_pretrained(tiny_folder, device="cpu")
    refused("st:/nowhere/at/all", "no model folder")
    refused(f"st:{tiny_folder}", r"no modules\.json; a SPLARE folder")
    with pytest.raises(InputError, match="write st:"):
        StModel.open(checkpoint)
    encoder.save_pretrained(tmp_path / "ours")
    refused(f"st:{tmp_path / 'ours'}", "was saved by SplareEncoder.*embed=True")
    refused(tmp_path / "ours", "was saved by SplareEncoder.*embed=True")
    encoder.save_pretrained(tmp_path / "whole", embed=True)
    refused(f"st:{tmp_path / 'whole'}", "was saved by SplareEncoder; .* name it without st:")
    with pytest.raises(InputError, match="takes no 'quantization'"):
        SplareModel.from_pretrained(f"st:{checkpoint}", quantization="8bit")


def test_dense_models_are_refused(tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    sizes = {"vocab_size": 260, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, intermediate_size=32)).save_pretrained(tmp_path / "bert")
    byte_tokenizer().save_pretrained(tmp_path / "bert")
    modules = [Transformer(str(tmp_path / "bert")), Pooling(16)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "dense"))
    refused(f"st:{tmp_path / 'dense'}", r"is a SentenceTransformer model; st: takes sparse encoders")


def test_code_and_pickles_are_refused(checkpoint, inference_free, tmp_path):
    folder = tmp_path / "code"
    shutil.copytree(checkpoint, folder)
    change(folder / "modules.json", "sentence_transformers.sparse_encoder.modules.splade_pooling", "modeling_own")
    (folder / "modeling_own.py").write_text("raise SystemExit('this code ran')")
    refused(f"st:{folder}", r"has the module modeling_own\.SpladePooling, which is not part of .* never run")
    shutil.copytree(inference_free, tmp_path / "routed")
    (router,) = (tmp_path / "routed").rglob("router_config.json")
    change(router, "sentence_transformers.sparse_encoder.modules.splade_pooling", "modeling_own")
    refused(f"st:{tmp_path / 'routed'}", r"has the module modeling_own")
    shutil.copytree(checkpoint, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    refused(f"st:{tmp_path / 'pickled'}", "pickled weights, which are not read")


def test_damaged_checkpoints_and_other_similarities_are_refused(checkpoint, tmp_path):
    folder = tmp_path / "cosine"
    shutil.copytree(checkpoint, folder)
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    (folder / "config_sentence_transformers.json").write_text(json.dumps({**settings, "similarity_fn_name": "cosine"}))
    refused(f"st:{folder}", "scored by cosine")
    (folder / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:1000])
    refused(f"st:{folder}", "sentence-transformers cannot load")
    (folder / "modules.json").write_text("{}")
    refused(f"st:{folder}", "must hold a list")


def test_without_the_extra_the_way_out_is_named(checkpoint, monkeypatch):
    import sys

    from splare_plugins.errors import MissingPartError

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.delitem(sys.modules, "splare_plugins.model.st_model")
    with pytest.raises(MissingPartError, match=r"pip install 'splare-plugins\[sentence-transformers\]'"):
        load(checkpoint)
