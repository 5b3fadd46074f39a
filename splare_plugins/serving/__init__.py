"""The encoder as an HTTP service: ``POST /encode`` in the shape that OpenSearch's remote models take.

``limits`` what a server takes and where it listens; ``queue`` and ``service`` batch texts of many requests for one
model thread a device; ``schemas`` the request and the answers; ``app`` the routes; ``server`` the process: socket,
signals, TLS. With an index: ``searching`` holds it, ``words`` ranks its texts by BM25, ``page`` is what a search page
asks, ``static`` the page itself. For agents: ``tools`` what they may ask of an index, ``mcp_server`` how;
``listening`` the socket of either server. Imports nothing of training.
"""
