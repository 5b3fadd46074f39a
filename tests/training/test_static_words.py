"""Whole words as tokens of a table: what the tokenizer makes of them, and what training makes of the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from splare_plugins import SplareModel
from splare_plugins.backbone import Backbone
from splare_plugins.errors import InputError
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.model.queries import load_static_queries
from splare_plugins.static import load_static
from splare_plugins.training.static.run import train_static
from splare_plugins.training.static.settings import StaticSettings
from splare_plugins.training.static.start import states_alone
from splare_plugins.training.static.words import frequent_words, listed_words, with_words
from tests.tiny import TEXTS, byte_tokenizer, tiny_model

SAID = ["(aerodynamic) heating", "aerodynamic heating, of wings", "Aerodynamic, and aerodynamic.", "wings of the fox"]


@pytest.fixture(scope="module")
def unigram() -> Tokenizer:
    """Pieces of few characters, as SentencePiece marks and scores them."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>", max_piece_length=3
    )
    tokenizer.train_from_iterator([*TEXTS, *SAID] * 5, trainer)
    return tokenizer


@pytest.fixture(scope="module")
def model(unigram: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model over such pieces."""
    bytes_model = tiny_model()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(unigram.to_str()),
        pad_token="<pad>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        model_max_length=128,
    )
    made = SplareModel(bytes_model.config, Backbone(bytes_model.backbone.model, tokenizer), bytes_model.head)
    made.calibrate(TEXTS, TEXTS)
    folder = tmp_path_factory.mktemp("words") / "model"
    made.save_pretrained(folder)
    return folder


def test_frequent_words_are_taken_whole_and_nothing_else_changes(unigram: Tokenizer) -> None:
    words = frequent_words(SAID, unigram, most=10, seen=2)
    assert [word.piece for word in words] == ["▁aerodynamic", "▁heating", "▁of", "▁wings"]
    assert all(list(word.tokens) == unigram.encode(word.piece[1:]).ids and len(word.tokens) > 1 for word in words)
    assert [word.piece for word in frequent_words(SAID, unigram, most=1, seen=2)] == ["▁aerodynamic"]
    wide = with_words(unigram, words)
    assert wide.get_vocab_size() == unigram.get_vocab_size() + 4
    first = unigram.get_vocab_size()
    assert wide.encode("heating, aerodynamic heating.").ids.count(first + 1) == 2
    for text in TEXTS:
        assert wide.encode(text).ids == unigram.encode(text).ids


def test_a_word_that_its_pieces_outweigh_is_taken_whole_too(unigram: Tokenizer) -> None:
    # Of a thousand words it is the rarest, and its pieces are the most frequent ones of all.
    texts = ["the " * 500 + "ofthe ofthe ofthe"]
    (word,) = [each for each in frequent_words(texts, unigram, most=10, seen=3) if each.piece == "▁ofthe"]
    assert with_words(unigram, [word]).encode("ofthe").tokens == ["▁ofthe"]


def test_words_of_lists_come_behind_those_of_texts(unigram: Tokenizer, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    first.write_text("the\naerodynamic\n\nflutter\nlibrary\n", encoding="utf-8")
    second.write_text("library\nﬂutters\nwing\u200cspan\n", encoding="utf-8")
    words = frequent_words(SAID, unigram, most=10, seen=2)
    found = listed_words([first, second], unigram, besides=words)
    assert [word.piece for word in found if word.piece != "▁the"] == [
        *("▁flutter", "▁library", "▁flutters", "▁wing", "▁span")
    ]
    wide = with_words(unigram, [*words, *found])
    assert wide.encode("library flutters aerodynamic").tokens == ["▁library", "▁flutters", "▁aerodynamic"]
    # Of one list, the shares fall with the place and sum up to about 1.
    many = tmp_path / "many.txt"
    many.write_text("".join(f"word{number}\n" for number in range(2000)), encoding="utf-8")
    shares = np.exp([word.score for word in listed_words([many], unigram)])
    assert len(shares) == 2000 and 0.9 < shares.sum() < 1.1


def test_a_list_with_something_else_is_refused(unigram: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("library\ntwo words\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"words\.txt line 2: 'two words' is no word of 2 to 40 letters.*; remove it"):
        listed_words([path], unigram)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="cannot read the words of"):
        listed_words([path], unigram)
    with pytest.raises(InputError, match="cannot read the words of"):
        listed_words([tmp_path / "gone"], unigram)


def test_addresses_paths_and_numbers_are_no_words(unigram: Tokenizer) -> None:
    said = "fox-hole don't हिन्दी می\u200cکنم IPv6 a.fox@dogs.org usr/share/fox http://fox.org fox=dog 1453 3.14"
    found = {word.piece[1:] for word in frequent_words([said], unigram, most=20, seen=1)}
    # The tokenizer takes the joiner without width for a blank.
    assert found == {"fox-hole", "don't", "हिन्दी", "می", "کنم", "IPv6"}


def test_the_built_in_models_words_are_words() -> None:
    table = load_static_queries(BUILTIN_MODEL)
    processor = SentencePieceProcessor(model_proto=table.tokenizer.content)
    words = (processor.id_to_piece(number)[1:] for number in range(250_002, len(table.table)))
    assert not [word for word in words if set("@/\\:=<>{}.") & set(word)]


def test_other_tokenizers_take_no_words(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer().backend_tokenizer
    with pytest.raises(
        InputError, match="has a BPE tokenizer, and only SentencePiece's Unigram ones take whole words"
    ):
        frequent_words(SAID, tokenizer, most=5, seen=1)


def test_states_of_words_are_means_over_their_tokens(model: Path) -> None:
    loaded = SplareModel.load(model, device="cpu")
    entries = [(5,), (6, 7, 8), (9,), (10, 11)]
    together = states_alone(loaded, entries)
    for entry, state in zip(entries, together, strict=True):
        np.testing.assert_allclose(states_alone(loaded, [entry])[0], state, atol=1e-5)


def test_a_table_with_words_is_trained_and_read_back(model: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(SAID)))
    how = {
        "model": str(model),
        "texts": (str(texts),),
        "batch": 2,
        "latents": 60,
        "seen": 2,
        "work": str(tmp_path / "w"),
    }
    for name, words in (("plain", 0), ("words", 2)):
        train_static(StaticSettings(**how, words=words, epochs=8, output=str(tmp_path / name)), device="cpu")
    plain, wide = (load_static(tmp_path / name) for name in ("plain", "words"))
    assert len(wide.table) == len(plain.table) + 2
    # A word of its own is marked as one token.
    weights = wide.encode_queries(["aerodynamic"], top_k=None)
    assert weights.nnz
    _, spans = wide.token_weights("aerodynamic heating", "query", weights.indices)
    assert spans.tolist() == [[0, 11], [11, 19]] or spans.tolist() == [[0, 11], [12, 19]]
    assert json.loads((tmp_path / "words" / "static.json").read_text())["settings"]["words"] == 2
    listed = tmp_path / "listed.txt"
    listed.write_text("library\nheating\n", encoding="utf-8")
    lists = {"words": 2, "word_lists": (str(listed),), "epochs": 0, "output": str(tmp_path / "listed")}
    train_static(StaticSettings(**how, **lists), device="cpu")
    assert len(load_static(tmp_path / "listed").table) == len(wide.table) + 1
    card = json.loads((tmp_path / "listed" / "static.json").read_text())
    assert card["settings"]["word_lists"] == ["listed.txt"]
