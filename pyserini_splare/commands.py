"""What the three command lines share: logging, options without effect, and how errors end."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping

from splare_plugins.errors import SplareError
from splare_plugins.machine.quiet import is_for_users, quiet_libraries

log = logging.getLogger(__name__)


def run(main: Callable[[], None]) -> None:
    """Run a command line and exit: 0, 2 after bad input with one sentence on stderr, 130 after an interrupt."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(is_for_users)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    quiet_libraries()
    try:
        main()
    except SplareError as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}", 2)
    except KeyboardInterrupt:
        _fail("interrupted; nothing half-made is left behind", 130)


def add_ignored(parser: argparse.ArgumentParser, flags: Mapping[str, str]) -> None:
    """Accept options of Pyserini that mean nothing here; ``flags`` names argparse's action of each."""
    for flag, action in flags.items():
        parser.add_argument(flag, action=action, help=argparse.SUPPRESS)


def note_ignored(arguments: argparse.Namespace, flags: Iterable[str], why: str) -> None:
    """Log which of those options were given, so that nobody counts on them."""
    given = [flag for flag in flags if getattr(arguments, flag.lstrip("-").replace("-", "_"), None)]
    if given:
        log.info("without effect: %s (%s)", ", ".join(given), why)


def _fail(message: str, status: int) -> None:
    sys.stderr.write(f"error: {message}\n")
    sys.exit(status)
