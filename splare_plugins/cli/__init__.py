"""The command line, ``splare``: one file per verb.

The modules that a verb needs are imported when it runs, so that ``--help`` starts neither torch nor Java.
"""

from splare_plugins.cli.app import main

__all__ = ["main"]
