"""The machine: files and folders, the cache, the hub, Java, work ahead in a thread. Imports errors only."""

from collections.abc import Callable

Progress = Callable[[int], None]
"""Is told how many more things are done."""
