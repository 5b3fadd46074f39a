"""The command line, ``splare``: one file per verb, put together in ``app.py``.

The modules that a verb needs are imported when it runs, so that ``--help`` starts neither torch nor Java.
"""
