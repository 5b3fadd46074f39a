"""All settings of the training of a static query encoder."""

from __future__ import annotations

from dataclasses import dataclass, field

from splare_plugins.errors import InputError
from splare_plugins.model.builtin import BUILTIN_MODEL
from splare_plugins.training.config_parts import TeacherSettings
from splare_plugins.training.settings import Settings


@dataclass(frozen=True, kw_only=True)
class StaticSettings(Settings):
    """What a static query encoder is trained on and how.

    Attributes:
        texts: texts that stand for queries, sources as ``splare search`` reads queries: any text in any language that
            the model reads will do.
        output: folder to make; ``static`` in the model's own is where ``--query-encoder static`` looks.
        model: whose query side it becomes: a folder, hub id or built-in name.
        latents: kept of a token.
        words: most frequent words that become tokens of their own where the model's tokenizer takes them to pieces,
            at most so many; for tokenizers of SentencePiece's Unigram kind.
        word_lists: files of further words, one a line, the most frequent first, that become tokens likewise though no
            text has them.
        seen: least number of times that such a word occurs in the texts.
        limit: most texts, the first after shuffling; all if left out.
        epochs: times that each text is seen; 0 leaves the tokens as they are alone.
        batch: texts of a step.
        learning_rate: of the states of tokens.
        shared_rate: of what all tokens share.
        offset_rate: of offsets.
        contrast: weight of the cross-entropy among the texts of a batch, beside the distance to the full vector.
        scale: of the cosines in it, and in the ranking.
        ranking: weight of the divergence between how both encoders rank documents, or other texts without any.
        documents: corpora of those documents.
        teachers: by name, files of ``splare train embed --texts --documents``; they rank the documents too.
        teaching: weight of the divergence between the table's ranking and that of the teachers' summed scores.
        mined: documents that the full encoder finds for each text, which are ranked for all texts of its batch.
        others: documents, or texts, drawn beside them.
        top_k: weights of a query that count in the ranking, such as the model keeps; all if left out.
        flops: weight of the FLOPS penalty on the texts' vectors, for cheaper queries.
        seed: of the order of texts.
        bfloat16: make the large products in bfloat16, several times faster where the processor has that.
        work: folder that keeps what costs most, the states of tokens and the vectors of texts, for the next run.
    """

    texts: tuple[str, ...]
    output: str
    model: str = BUILTIN_MODEL
    latents: int = 40
    words: int = 0
    word_lists: tuple[str, ...] = ()
    seen: int = 3
    limit: int | None = None
    epochs: float = 2.0
    batch: int = 64
    learning_rate: float = 5e-3
    shared_rate: float = 1e-3
    offset_rate: float = 2e-2
    contrast: float = 0.1
    scale: float = 20.0
    ranking: float = 0.3
    documents: tuple[str, ...] = ()
    teachers: dict[str, TeacherSettings] = field(default_factory=dict)
    teaching: float = 0.3
    mined: int = 4
    others: int = 128
    top_k: int | None = None
    flops: float = 0.0
    seed: int = 0
    bfloat16: bool = False
    work: str | None = None

    def __post_init__(self) -> None:
        if not self.texts:
            raise InputError("texts must name at least one source of texts")
        for name in ("latents", "batch", "mined", "others", "top_k", "seen"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be a number from 1, not {getattr(self, name)}")
        if self.limit is not None and self.limit < self.batch:
            raise InputError(f"limit must be at least a batch of {self.batch} texts, not {self.limit}")
        for name in ("epochs", "words", "contrast", "ranking", "teaching", "flops"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be a number from 0, not {getattr(self, name)}")
        if self.teachers and not self.documents:
            raise InputError("teachers rank documents; name the corpora under documents")
