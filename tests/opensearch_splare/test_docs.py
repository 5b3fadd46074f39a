"""What docs/opensearch.md shows works, on the run's node."""

from __future__ import annotations

import pytest
from opensearchpy import OpenSearch

from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.pages import run_pages

NAMES = "docs,docs-000001,paragraphs,shared,shared-000001"


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_page_shows_works(client: OpenSearch, opensearch_url, small_data, tmp_path):  # noqa: F811
    assert not client.indices.exists(index=NAMES, params={"ignore_unavailable": "true", "allow_no_indices": "false"})
    try:
        assert run_pages("docs/opensearch.md", folder=tmp_path, data=small_data, OPENSEARCH_URL=opensearch_url) == [8]
    finally:
        client.indices.delete(index="docs-000001,paragraphs,shared-000001", params={"ignore_unavailable": "true"})
    assert (tmp_path / "docs.run").stat().st_size > 0
