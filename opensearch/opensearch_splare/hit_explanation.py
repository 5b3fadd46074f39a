"""Why an indexed document matched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opensearchpy import NotFoundError, OpenSearch

from opensearch_splare.mapping import TEXT_FIELDS
from opensearch_splare.queries import Body
from splare_plugins.corpus import Document
from splare_plugins.errors import InputError
from splare_plugins.impacts import from_dicts
from splare_plugins.retrieval.explain import Explainer, Explanation

# What Lucene calls a clause: "Linear function on the splare field for the f12 feature, computed as w * S from:".
_FEATURE = re.compile(r"Linear function on the \S+ field for the (f\d+) feature")


def explain_hit(client: OpenSearch, index: str, body: Body | None, docid: str, explainer: Explainer) -> Explanation:
    """The contributions are the server's, of what is indexed; the words are the model's, from the stored text.

    ``body`` asks for the query's impacts; ``None`` if there are none.

    Raises:
        InputError: if there is no such document, or its text is not stored.
    """
    text = _stored_text(client, index, docid)
    indexed: dict[str, int] = {}  # of the latents that query and document share
    if body is not None:
        answer = client.explain(index=index, id=docid, body={"query": body})
        indexed = dict(_features(answer.get("explanation", {})))
    shared = from_dicts([indexed], explainer.impacts.shape[1])
    return explainer(text, docid=docid, impacts=shared)


def _stored_text(client: OpenSearch, index: str, docid: str) -> str:
    try:
        source = client.get(index=index, id=docid, params={"_source_includes": ",".join(TEXT_FIELDS)})["_source"]
    except NotFoundError as error:
        if "index_not_found" in str(error.error):
            raise
        raise InputError(f"there is no document {docid!r} in the index {index!r}") from error
    if "text" not in source:
        raise InputError(f"the index {index!r} holds no text of the document {docid!r}; index it with its text")
    return Document(docid, source["text"], source.get("title", "")).content


def _features(node: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Walk Lucene's explanation, which differs between the two query forms."""
    if found := _FEATURE.match(node.get("description", "")):
        (value,) = (part["value"] for part in node["details"] if part["description"].startswith("S,"))
        yield found.group(1), int(value)
        return
    for part in node.get("details", []):
        yield from _features(part)
