"""The command line, ``splare``: one file per verb, put together in ``app.py``.

The modules that a verb needs are imported when it runs, so that ``--help`` starts neither torch nor Java. May import
all other rooms; adapters add their verbs and engines through entry points.
"""
