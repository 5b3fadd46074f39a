"""The encoder as an HTTP service: ``POST /encode`` in the shape that OpenSearch's remote models take.

``limits`` what a server takes and where it listens; ``queue`` and ``service`` batch texts of many requests for one
model thread a device; ``schemas`` the request and the answers; ``app`` the routes; ``server`` the process: socket,
signals, TLS. With an index: ``watched`` keeps it open, ``searching`` is what a search page asks of it, ``words`` ranks
its texts by BM25, ``page`` the routes, ``static`` the page itself. For agents: ``tools`` what they may ask of an
index, ``answers`` what they get, ``mcp_server`` how; ``listening`` the socket of either server. Imports nothing of
training.
"""
