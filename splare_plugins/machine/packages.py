"""What is installed of other projects, and what this machine has that only they can use."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path

from splare_plugins.errors import MissingPartError


def require_package(package: str, what: str, extra: str) -> None:
    """Refuse to go on without a package that ``extra`` of ours would have brought.

    Raises:
        MissingPartError: then.
    """
    if find_spec(package) is None:
        raise MissingPartError(f"{what} need the package {package}; run: pip install 'splare-plugins[{extra}]'")


TORCH = ("torch", "transformers", "peft")


def require_torch(what: str) -> None:
    """Refuse to go on without what computes a model that is no graph.

    Raises:
        MissingPartError: then.
    """
    if any(find_spec(package) is None for package in TORCH):
        raise MissingPartError(without_torch(what))


def without_torch(what: str) -> str:
    """That ``what`` needs what is not installed, and the ways out."""
    return (
        f"{what} needs torch, transformers and peft, and not all of them are installed; run pip install "
        "'splare-plugins[encode]', or search with --query-encoder static, which needs none"
    )


def torch_may_have_gpu() -> bool:
    """``False`` where torch would find no GPU, which it takes two seconds to be imported to say itself."""
    if "torch" in sys.modules or sys.platform != "linux":
        return find_spec("torch") is not None
    if find_spec("torch") is None:
        return False
    # ROCm has a device of the kernel, CUDA the library of the driver, which torch loads by this name.
    if Path("/dev/kfd").exists():
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
