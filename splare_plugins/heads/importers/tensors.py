"""Weight files read tensor by tensor and block by block: safetensors, ``.npz`` and ``.pt``, never a pickle's code.

A published SAE of 131,072 latents is 2 GB in bfloat16, of which the encoder is half. Reading in blocks keeps a
conversion's memory near the size of its result, also where the encoder is stored transposed.
"""

from __future__ import annotations

import math
import pickle
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from splare_plugins.errors import InputError

BLOCK_BYTES = 8 << 20
DAMAGE = (SafetensorError, OSError, ValueError, EOFError, RuntimeError, zlib.error, zipfile.BadZipFile, KeyError)


class TensorFile(ABC):
    """Tensors of one file by name.

    Attributes:
        path: the file.
        shapes: shape of every tensor.
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        self.path = path
        self.shapes = shapes

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor.

        Raises:
            InputError: if the file has no such tensor.
        """
        if name not in self.shapes:
            raise InputError(f"{self.path} has no tensor {name!r}, only {', '.join(sorted(self.shapes)) or 'none'}")
        return self.shapes[name]

    def matrix_shape(self, name: str) -> tuple[int, int]:
        """Shape of a tensor that must be a matrix.

        Raises:
            InputError: if it is missing or not a matrix.
        """
        shape = self.shape(name)
        if len(shape) != 2:
            raise InputError(f"the tensor {name!r} of {self.path} must be a matrix, but its shape is {shape}")
        return shape[0], shape[1]

    def vector(self, name: str, size: int) -> Tensor:
        """A tensor of ``size`` numbers in float32; a single number is repeated.

        Raises:
            InputError: if it is missing or has another size.
        """
        shape = self.shape(name)
        if math.prod(shape) not in (1, size) or len(shape) > 1:
            raise InputError(f"the tensor {name!r} of {self.path} has shape {shape} where ({size},) is needed")
        return self._whole(name).float().reshape(-1).expand(size).clone()

    def blocks(self, name: str) -> Iterator[tuple[int, Tensor]]:
        """Consecutive rows of a matrix, each block with the number of its first row."""
        rows, columns = self.matrix_shape(name)
        step = max(1, BLOCK_BYTES // (4 * max(1, columns)))
        start = 0
        for block in self._blocks(name, rows, step):
            yield start, block
            start += len(block)

    @abstractmethod
    def _whole(self, name: str) -> Tensor: ...

    @abstractmethod
    def _blocks(self, name: str, rows: int, step: int) -> Iterator[Tensor]:
        """The ``rows`` of a matrix, ``step`` at a time."""


class _Safetensors(TensorFile):
    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="pt")
        shapes = {name: tuple(self._file.get_slice(name).get_shape()) for name in self._file.keys()}  # noqa: SIM118
        super().__init__(path, shapes)

    def _whole(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def _blocks(self, name: str, rows: int, step: int) -> Iterator[Tensor]:
        part = self._file.get_slice(name)
        return (part[start : min(start + step, rows)] for start in range(0, rows, step))


class _Torch(TensorFile):
    def __init__(self, path: Path) -> None:
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{path} is not a plain dictionary of tensors, and code inside a pickle is never run; "
                "save its state dict again"
            ) from error
        if not isinstance(found, dict):
            raise InputError(f"{path} must hold a dictionary of tensors, not a {type(found).__name__}")
        self._tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
        super().__init__(path, {name: tuple(value.shape) for name, value in self._tensors.items()})

    def _whole(self, name: str) -> Tensor:
        return self._tensors[name]

    def _blocks(self, name: str, rows: int, step: int) -> Iterator[Tensor]:
        return iter(self._tensors[name].split(step))


class _Npz(TensorFile):
    """``numpy.load`` would read a whole array; here the rows come from the archive's stream one after the other."""

    def __init__(self, path: Path) -> None:
        self._archive = zipfile.ZipFile(path)
        shapes = {}
        for member in self._archive.namelist():
            with self._archive.open(member) as stream:
                shapes[member.removesuffix(".npy")] = _npy_header(stream)[0]
        super().__init__(path, shapes)

    def _whole(self, name: str) -> Tensor:
        with self._archive.open(f"{name}.npy") as stream:
            return torch.from_numpy(np.lib.format.read_array(stream, allow_pickle=False))

    def _blocks(self, name: str, rows: int, step: int) -> Iterator[Tensor]:
        with self._archive.open(f"{name}.npy") as stream:
            shape, fortran, dtype = _npy_header(stream)
            if fortran:  # columns come first in the stream: nothing is won by reading in blocks
                yield from self._whole(name).split(step)
                return
            for start in range(0, rows, step):
                size = (min(start + step, rows) - start) * shape[1] * dtype.itemsize
                data = bytearray(stream.read(size))
                if len(data) < size:
                    raise EOFError(f"the array {name!r} ends too early")
                yield torch.from_numpy(np.frombuffer(data, dtype=dtype).reshape(-1, shape[1]))


def _npy_header(stream: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)  # type: ignore[arg-type]
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)  # type: ignore[arg-type]
    if dtype.kind != "f":
        raise ValueError(f"an array of {dtype}, but floating-point numbers are needed")
    return shape, fortran, dtype


KINDS: dict[str, type[_Safetensors] | type[_Torch] | type[_Npz]] = {
    ".safetensors": _Safetensors,
    ".pt": _Torch,
    ".pth": _Torch,
    ".npz": _Npz,
}


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a weight file by its suffix; damage found while reading inside the block is one clear sentence.

    Raises:
        InputError: if the file is missing, cut off or of another kind.
    """
    try:
        yield KINDS[path.suffix](path)
    except FileNotFoundError as error:
        raise InputError(f"there is no file {path}; fetch the SAE again") from error
    except DAMAGE as error:
        raise InputError(f"{path} is damaged or cut off ({error}); fetch it again") from error
