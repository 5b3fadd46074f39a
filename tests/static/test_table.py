"""Tables of tokens: the look-up equals a slow one, whatever the text; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy.sparse import csr_array
from tokenizers import Tokenizer

from splare_plugins.errors import IdentityError, InputError
from splare_plugins.heads.labels import Label, write_labels
from splare_plugins.latents.table import write_table
from splare_plugins.static import StaticQueryEncoder, TokenTable, load_static, save_static
from splare_plugins.static.pieces import HuggingFacePieces
from tests.tiny import TEXTS, tiny_model

WIDTH, TOKENS, MOST = 512, 260, 9


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    """Of each token; the last ones have none."""
    rng = np.random.default_rng(0)
    found = rng.random((TOKENS, WIDTH)).astype(np.float32) * (rng.random((TOKENS, WIDTH)) < 0.05)
    found[-3:] = 0
    return found


@pytest.fixture(scope="module")
def table(weights: np.ndarray) -> TokenTable:
    return TokenTable.from_weights(csr_array(weights), MOST)


@pytest.fixture(scope="module")
def encoder(table: TokenTable) -> StaticQueryEncoder:
    model = tiny_model()
    tokenizer = Tokenizer.from_str(model.backbone.tokenizer.backend_tokenizer.to_str())
    return StaticQueryEncoder(model.config, table, HuggingFacePieces(tokenizer))


def slow(weights: np.ndarray, tokens: list[int], top_k: int | None) -> np.ndarray:
    """By loops: round, keep the largest of each token, take the largest of the text."""
    unit = weights.max() / 255
    pooled = np.zeros(WIDTH)
    for token in tokens:
        largest = sorted(range(WIDTH), key=lambda latent: (-weights[token, latent], latent))[:MOST]
        for latent in largest:
            pooled[latent] = max(pooled[latent], round(float(weights[token, latent] / unit)) * unit)
    kept = sorted(range(WIDTH), key=lambda latent: (-pooled[latent], latent))[:top_k]
    return np.array([pooled[latent] if latent in kept else 0 for latent in range(WIDTH)])


@pytest.mark.parametrize("text", [*TEXTS, "", " ", "é", "क्षि 你好 שלום", "👩‍👩‍👧 ok", "x" * 40])
@pytest.mark.parametrize("top_k", [5, "model", None])
def test_a_look_up_equals_the_slow_one(
    encoder: StaticQueryEncoder, weights: np.ndarray, text: str, top_k: int | str | None
) -> None:
    kept = encoder.config.query.top_k if top_k == "model" else top_k
    (pieces,) = encoder.tokenizer.pieces([text.strip(" ")], 10_000)
    ids = [token for token, special in zip(pieces.ids, pieces.special_tokens_mask, strict=True) if not special]
    found = encoder.encode_queries([text], top_k=top_k).toarray()[0]
    np.testing.assert_allclose(found, slow(weights, ids, kept), rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=30))
def test_any_text_has_a_vector(encoder: StaticQueryEncoder, text: str) -> None:
    row = encoder.encode_queries([text])
    assert row.shape == (1, WIDTH) and row.nnz <= encoder.config.query.top_k
    assert (np.diff(row.indices) > 0).all() and (row.data > 0).all()


def test_texts_keep_their_order_and_long_ones_are_counted(encoder: StaticQueryEncoder) -> None:
    told: list[int] = []
    done: list[int] = []
    long = "word " * 10_000
    rows = encoder.encode([*TEXTS, "", long], "query", on_truncated=told.append, on_progress=done.append)
    assert (told, sum(done)) == ([1], len(TEXTS) + 2)
    assert (rows[:1] != encoder.encode_queries(TEXTS[:1])).nnz == 0
    assert rows[[len(TEXTS)]].nnz == 0 < rows[[len(TEXTS) + 1]].nnz
    assert encoder.encode_queries([]).shape == (0, WIDTH)


def test_the_norm_is_that_of_the_model(table: TokenTable, encoder: StaticQueryEncoder) -> None:
    from dataclasses import replace

    scaled = StaticQueryEncoder(replace(encoder.config, norm_power=0.5), table, encoder.tokenizer)
    plain = encoder.encode_queries(TEXTS[:1], top_k=None)
    expected = plain.toarray() / np.linalg.norm(plain.toarray()) ** 0.5
    np.testing.assert_allclose(scaled.encode_queries(TEXTS[:1], top_k=None).toarray(), expected, rtol=1e-5)


def test_what_is_refused(encoder: StaticQueryEncoder, table: TokenTable) -> None:
    with pytest.raises(InputError, match="documents take the full one"):
        encoder.encode(TEXTS, "document")
    with pytest.raises(InputError, match="not one string"):
        encoder.encode_queries("one")
    with pytest.raises(InputError, match="top_k must be"):
        encoder.encode_queries(TEXTS, top_k=0)
    with pytest.raises(InputError, match="lone surrogate"):
        encoder.encode_queries(["\ud800"])
    with pytest.raises(InputError, match="a table of 512 latents cannot encode queries of tiny, which has 256"):
        StaticQueryEncoder(tiny_model(width=256).config, table, encoder.tokenizer)
    for bad in (np.nan, np.inf, -1.0, 0.0):
        with pytest.raises(InputError, match="finite weights from 0"):
            TokenTable.from_weights(csr_array(np.array([[bad, 0.0]])), 1)


def test_wide_tables_have_wide_ids() -> None:
    rows = csr_array(([0.5], ([0], [70_000])), shape=(1, 70_001))
    table = TokenTable.from_weights(rows, 4)
    assert table.latents.dtype == np.int32
    assert table.pool(np.array([0, 5]))[0].tolist() == [70_000]


def test_a_folder_gives_the_same_vectors(encoder: StaticQueryEncoder, tmp_path: Path) -> None:
    save_static(encoder, tmp_path / "static")
    loaded = load_static(tmp_path / "static", encoder.config)
    assert (loaded.encode_queries(TEXTS) != encoder.encode_queries(TEXTS)).nnz == 0


def test_a_folder_that_does_not_belong_or_is_damaged(encoder: StaticQueryEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "static"
    with pytest.raises(InputError, match=r"tiny has no static query encoder in .*--query-encoder full"):
        load_static(folder, encoder.config)
    save_static(encoder, folder)
    with pytest.raises(IdentityError, match=r"was made for tiny seed-0 \(.*\), and the model at hand is tiny seed-1"):
        load_static(folder, tiny_model(seed=1).config)
    arrays = load_file(folder / "table.safetensors")
    save_file({**arrays, "latents": arrays["latents"][:-1]}, folder / "table.safetensors")
    with pytest.raises(InputError, match=r"table\.safetensors is missing or damaged"):
        load_static(folder, encoder.config)
    with pytest.raises(InputError, match="its parts do not fit"):
        TokenTable(arrays["starts"], arrays["latents"][:-1], arrays["weights"], 0.1, WIDTH)


def test_latents_have_their_labels(encoder: StaticQueryEncoder, tmp_path: Path) -> None:
    labels = tmp_path / "labels.parquet"
    write_labels(labels, {3: Label("numbers", "a person")})
    named = StaticQueryEncoder(encoder.config, encoder.table, encoder.tokenizer, labels=labels)
    assert (named.head.name(3), named.head.name(4), encoder.head.name(3)) == ("numbers", "f4", "f3")
    save_static(named, tmp_path / "static")
    assert load_static(tmp_path / "static").head.name(3) == "numbers"
    write_table(labels, [], replace(encoder.config, backbone_sha256="another"), {})
    with pytest.raises(IdentityError, match="has the labels of another model"):
        load_static(tmp_path / "static", labels=labels).head.name(3)
