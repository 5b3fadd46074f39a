"""The vectors of all texts of training data by a teacher: a bi-encoder, BM25, or a model's own dense backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array, csr_array

from splare_plugins.config import SIDES, Side
from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine import Progress
from splare_plugins.training.data.reader import ExampleReader
from splare_plugins.training.data.rows import read_rows
from splare_plugins.training.data.score import load_sentence_model
from splare_plugins.training.data.teachers import Matrix, TeacherVectors, text_key
from splare_plugins.training.data.unpaired import read_contents_of, read_queries_of

BM25 = "bm25"
DENSE = "dense:"
Embed = Callable[[dict[Side, list[str]], Progress | None], dict[Side, Matrix]]
"""Vectors of texts by side."""


def embed_file(
    sources: Sequence[str],
    teacher: Embed,
    output: Path,
    *,
    texts: Sequence[str] = (),
    documents: Sequence[str] = (),
    originals: Mapping[str, str] | None = None,
    on_progress: Progress | None = None,
    **options: Any,
) -> dict[Side, int]:
    """Write the vectors of all queries and documents of some training data.

    Args:
        sources: as in :func:`read_rows`.
        teacher: from :func:`load_embedder`.
        output: safetensors file.
        texts: sources of queries that are paired with nothing, as a table is trained on.
        documents: corpora likewise.
        originals: see :func:`embed_texts`.
        on_progress: called with the number of texts just encoded.
        **options: of :func:`read_rows`, for all sources.

    Returns:
        different texts by side.

    Raises:
        InputError: if ``output`` exists, a row cannot be used, there is no query, or no text has an original.
    """
    if output.exists():
        raise InputError(f"{output} exists; choose another file, or remove it")
    paired = read_texts(sources, **options)
    read: dict[Side, list[str]] = {
        "query": list(dict.fromkeys([*paired["query"], *read_queries_of(texts)])),
        "document": list(dict.fromkeys([*paired["document"], *read_contents_of(documents)])),
    }
    given = ", ".join([*sources, *texts, *documents])
    if not read["query"]:
        raise InputError(f"{given} holds no query to embed")
    if originals is not None and originals.keys().isdisjoint([*read["query"], *read["document"]]):
        raise InputError(f"none of the originals belongs to a text of {given}; they must be equal, letter by letter")
    embed_texts(read, teacher, originals=originals, name=output.stem, on_progress=on_progress).save(output)
    return {side: len(read[side]) for side in SIDES}


def embed_texts(
    texts: dict[Side, list[str]],
    teacher: Embed,
    *,
    originals: Mapping[str, str] | None = None,
    name: str,
    on_progress: Progress | None = None,
) -> TeacherVectors:
    """The vectors of different texts by side.

    Args:
        texts: by side, none twice.
        teacher: from :func:`load_embedder`.
        originals: what the teacher reads in place of a text, such as the English of a translation, so that a teacher
            of one language teaches others.
        name: of the teacher, for messages.
        on_progress: called with the number of texts just encoded.
    """
    read = {side: [(originals or {}).get(text, text) for text in texts[side]] for side in SIDES}
    different = {side: list(dict.fromkeys(read[side])) for side in SIDES}
    vectors = teacher(different, on_progress)
    keys, rows = {}, {}
    for side in SIDES:
        place = {text: row for row, text in enumerate(different[side])}
        keys[side] = np.array([text_key(text) for text in texts[side]], dtype=np.int64)
        rows[side] = vectors[side][[place[text] for text in read[side]]]
    return TeacherVectors(keys, rows, name=name)


def read_originals(source: str) -> dict[str, str]:
    """Texts and their originals from rows with the columns ``text`` and ``original``; the last one of a text counts.

    Raises:
        InputError: if the file cannot be read, or a row lacks one of the two.
    """
    found = {}
    for where, row, _ in read_rows(source):
        text, original = row.get("text"), row.get("original")
        if not (isinstance(text, str) and isinstance(original, str)):
            raise InputError(f"{where} needs the columns text and original, both strings")
        found[text] = original
    return found


def read_texts(sources: Sequence[str], **options: Any) -> dict[Side, list[str]]:
    """All different queries and documents, in the order of their first row; the options are :func:`read_rows`'."""
    queries: dict[str, None] = {}
    documents: dict[str, None] = {}
    for source in sources:
        for _, example in ExampleReader(source, **options):
            queries[example.query] = None
            documents.update(dict.fromkeys(text for text, _ in example.candidates))
    return {"query": list(queries), "document": list(documents)}


def load_embedder(
    teacher: str,
    *,
    device: str = "auto",
    batch_size: int = 64,
    max_length: int | None = None,
    dtype: Literal["float32", "bfloat16"] = "float32",
    language: str | None = None,
) -> Embed:
    """A teacher by its name.

    Args:
        teacher: folder or hub id of a dense model of sentence-transformers; ``"bm25"``; or ``"dense:MODEL"`` for the
            backbone of a SPLARE model.
        device: where to encode.
        batch_size: texts a forward pass of a model of sentence-transformers.
        max_length: tokens it reads of a text; as it says itself if left out.
        dtype: of its weights.
        language: of the words, for BM25: its stemmer and stop words; ``"en"`` if left out.

    Raises:
        InputError: if there is no such model, or an option is not for this kind of teacher.
        MissingPartError: if BM25 lacks a package.
    """
    unused = {
        "a language": language is not None and teacher != BM25,
        "a number of tokens": max_length is not None and (teacher == BM25 or teacher.startswith(DENSE)),
        "bfloat16": dtype == "bfloat16" and teacher == BM25,
    }
    if names := [name for name, is_unused in unused.items() if is_unused]:
        raise InputError(f"the teacher {teacher} has no use for {names[0]}; omit it")
    if teacher == BM25:
        return bm25_embedder(language or "en")
    if teacher.startswith(DENSE):
        return _backbone(teacher.removeprefix(DENSE), device, dtype)
    return _bi_encoder(teacher, None if device == "auto" else device, batch_size, max_length, dtype)


def bm25_embedder(language: str) -> Embed:
    """BM25 with k1 0.9 and b 0.4: a document's vector holds the score that each of its words gives."""
    try:
        import bm25s
        import Stemmer
    except ImportError as error:
        raise MissingPartError("BM25 as a teacher needs: pip install 'splare-plugins[train]'") from error
    try:
        stemmer = Stemmer.Stemmer(language)
    except KeyError as error:
        raise InputError(
            f"there is no stemmer for {language!r}, only for {', '.join(Stemmer.algorithms())}"
        ) from error
    stopwords = language if language in ("en", "english") else []
    options: dict[str, Any] = {"stopwords": stopwords, "stemmer": stemmer, "show_progress": False}

    def embed(texts: dict[Side, list[str]], on_progress: Progress | None) -> dict[Side, Matrix]:
        index = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
        tokens = bm25s.tokenize(texts["document"], **options)
        if not any(tokens.ids):
            raise InputError(
                f"none of the {len(texts['document'])} documents has a word of two letters that is no stop word, and "
                "BM25 knows only such; choose a bi-encoder as the teacher"
            )
        index.index(tokens, show_progress=False)
        parts = index.scores["data"], index.scores["indices"], index.scores["indptr"]
        words = csr_array(parts, shape=(len(parts[-1]) - 1, len(texts["document"])))
        # The empty word that bm25s adds to its vocabulary has no row.
        vocabulary = {word: row for word, row in index.vocab_dict.items() if row < words.shape[0]}
        counts = _counts(bm25s.tokenize(texts["query"], return_ids=False, **options), vocabulary, words.shape[0])
        return {"query": counts, "document": words.T.tocsr()}

    return embed


def _counts(tokens: list[list[str]], vocabulary: dict[str, int], width: int) -> csr_array:
    known = [(row, vocabulary[word]) for row, words in enumerate(tokens) for word in words if word in vocabulary]
    rows, words = np.array(known, dtype=np.int64).reshape(-1, 2).T
    return coo_array((np.ones(len(known), dtype=np.float32), (rows, words)), shape=(len(tokens), width)).tocsr()


def _backbone(name: str, device: str, dtype: str) -> Embed:
    from splare_plugins.model.dense import dense_vectors
    from splare_plugins.model.splare import SplareModel

    model = SplareModel.load(name, device=device, dtype=dtype)

    def embed(texts: dict[Side, list[str]], on_progress: Progress | None) -> dict[Side, Matrix]:
        return {
            side: dense_vectors(model, texts[side], side, on_progress=on_progress).astype(np.float16) for side in SIDES
        }

    return embed


def _bi_encoder(name: str, device: str | None, batch_size: int, max_length: int | None, dtype: str) -> Embed:
    import torch
    from sentence_transformers import SentenceTransformer

    model = load_sentence_model(SentenceTransformer, name, device).to(getattr(torch, dtype))
    if max_length is not None:
        model.max_seq_length = max_length

    def embed(texts: dict[Side, list[str]], on_progress: Progress | None) -> dict[Side, Matrix]:
        vectors: dict[Side, Matrix] = {}
        usual: dict[str, Any] = {"normalize_embeddings": True, "convert_to_tensor": True, "show_progress_bar": False}
        for side in SIDES:
            encode = model.encode_query if side == "query" else model.encode_document
            parts = []
            for start in range(0, len(texts[side]), 16 * batch_size):
                chunk = texts[side][start : start + 16 * batch_size]
                parts.append(encode(chunk, batch_size=batch_size, **usual).half().cpu().numpy())
                if on_progress is not None:
                    on_progress(len(chunk))
            vectors[side] = np.concatenate(parts)
        return vectors

    return embed
