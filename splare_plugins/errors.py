"""The errors a user can mend.

Each message is one sentence that names the thing that is wrong and the way out. The command line prints
it without a stack trace and exits with status 2; a library user catches :class:`SplareError`.
"""

from __future__ import annotations

import shlex


class SplareError(Exception):
    """Base of every error that the user, not the project, can mend."""


class InputError(SplareError):
    """Text, ids, weights or files that cannot be used as they are; the message says where."""


class IdentityError(SplareError):
    """An index, shard or file that was made with another model or another quantiser."""


class MissingPartError(SplareError):
    """Something that has to be installed first: an extra, Java, a model."""


def splare_command(*words: object) -> str:
    """A command for a message, which a shell takes as it stands, whatever its folders are called."""
    return shlex.join(["splare", *map(str, words)])
