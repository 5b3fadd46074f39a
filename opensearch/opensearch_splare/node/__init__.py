"""A real OpenSearch node on this machine, for tests and trials: assembled from Maven Central, loopback only."""

from opensearch_splare.node.home import VERSION, node_home
from opensearch_splare.node.process import Node, start_cluster

__all__ = ["VERSION", "Node", "node_home", "start_cluster"]
