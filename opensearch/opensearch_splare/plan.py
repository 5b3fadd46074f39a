"""What a deployment is to be: an index, the encoder behind it, and how the cluster uses that."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from opensearch_splare.location import check_name
from splare_plugins.config import SplareConfig, check_count
from splare_plugins.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One index whose texts and queries the cluster encodes through a ``splare serve``.

    Attributes:
        index: its name; the names of all else follow from it.
        encoder_url: where the nodes of the cluster reach the encoder.
        config: of the encoder's model.
        token: the encoder's bearer token.
        batch_size: texts of one call while indexing.
        read_timeout: seconds that a call may take.
        connections: most calls of a node at the same time.
        passage_words: cut texts into passages of so many words, each with its own vector; ``None`` gives a text one
            vector.
        two_phase: search in two phases: faster, made for few hits, no longer exact.
        shards: primary shards of a new index.
        replicas: copies of each; ``None`` keeps one as soon as there is a second node.
        analyzer: of the text fields of a new index; ``None`` for the standard one.

    Raises:
        InputError: for values that are impossible.
    """

    index: str
    encoder_url: str
    config: SplareConfig
    token: str | None = None
    batch_size: int = 16
    read_timeout: int = 120
    connections: int = 8
    passage_words: int | None = None
    two_phase: bool = False
    shards: int = 1
    replicas: int | None = None
    analyzer: str | None = None

    def __post_init__(self) -> None:
        check_name(self.index)
        object.__setattr__(self, "encoder_url", check_encoder_url(self.encoder_url))
        for name in ("batch_size", "read_timeout", "connections", "passage_words"):
            if (value := getattr(self, name)) is not None:
                check_count(value, name)

    @property
    def pipeline(self) -> str:
        """Name of the ingest pipeline, and of the search pipeline."""
        return pipeline_name(self.index)


def check_encoder_url(url: str) -> str:
    """``url`` without a slash at its end; an ``InputError`` if it is not an address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or "@" in parts.netloc:
        raise InputError(f"{url!r} is not an address of an encoder; give the one that splare serve prints")
    return url.rstrip("/")


def pipeline_name(index: str) -> str:
    """The name of both pipelines of an index."""
    return f"splare-{index}"
