"""SPLARE on OpenSearch: mapping, client-side indexing and search, deployment."""
