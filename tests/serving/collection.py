"""A small index for the search page, in the engine memory, with its texts beside it."""

from __future__ import annotations

from pathlib import Path

from splare_plugins.corpus import Document
from splare_plugins.engines import get_engine
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.indexing import document_batches
from splare_plugins.serving.searching import SearchIndex

SCRIPT = "<script>document.title = 'broken'</script>"
TEXTS = {
    "fox": "The quick brown fox jumps over the lazy dog near the river bank.",
    "search": "Ein Suchindex findet Dokumente, und ein Fuchs findet den Weg.",
    "zh": "搜索引擎 找到 文档 和 狐狸 🦊 快速",
    f"markup{SCRIPT}": f"A quick fox {SCRIPT} <img src=x onerror=alert(1)> & a dog",
    **{f"d{n}": f"Document {n} tells of foxes, dogs and {'rivers ' * (n % 4)}number {n * n}." for n in range(5)},
    "long": "A fox." + " Many words of a long text follow here." * 12,
    "empty": "",
}
QUERY = "the quick fox"


def build(model: SplareModel, place: Path, texts: dict[str, str], engine: str = "memory", **options: object) -> None:
    """Index texts, over what may stand there."""
    with get_engine(engine).writer(str(place), model.config, overwrite=place.exists(), **options) as writer:
        documents = [Document(docid, text) for docid, text in texts.items()]
        for batch in document_batches(model, documents, store_text=True):
            writer.add(batch.docids, batch.impacts, batch.documents)


def opened(place: Path, texts: dict[str, str] | None = TEXTS, engine: str = "memory") -> SearchIndex:
    """The index as a server has it."""
    index = SearchIndex(str(place), lambda: get_engine(engine).searcher(str(place)), texts=texts)
    index.start()
    return index
