"""The hub's refusals, each as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from splare_plugins.errors import InputError


class HubUnreachableError(InputError):
    """The hub could not be asked; what was fetched or converted before may still do."""


@contextmanager
def hub_errors(
    what: str, *, action: str = "fetch", otherwise: str = "without a network, give a folder"
) -> Iterator[None]:
    """Turn what the hub's client raises in the block into one sentence.

    Args:
        what: the repository, or a file of it.
        action: what is being done with it.
        otherwise: the way out where the hub does not answer.

    Raises:
        InputError: for what is gated, missing, forbidden or misspelt.
        HubUnreachableError: for everything between here and the hub.
    """
    from huggingface_hub import errors

    # The client's HTTP library has changed between versions; its base error is what the client's own derives from.
    network = (OSError, *errors.HfHubHTTPError.__bases__)
    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(f"{what} is gated: accept its terms on the hub and run `hf auth login`") from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(f"there is no hub repository {what}, or it needs `hf auth login`") from error
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise InputError(f"the hub has no such revision or file of {what}") from error
    except errors.HFValidationError as error:
        raise InputError(f"{what!r} is not a name of a hub repository") from error
    except network as error:
        if getattr(getattr(error, "response", None), "status_code", None) in (401, 403):
            raise InputError(f"the hub does not let you {action} {what}; run `hf auth login`") from error
        detail = getattr(error, "strerror", None) or type(error).__name__
        raise HubUnreachableError(f"cannot {action} {what} ({detail}); {otherwise}") from error
