"""A graph at work: arrays in, arrays out."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

import numpy as np

from splare_plugins.machine.packages import require_package
from splare_plugins.runtime.card import Format

PACKAGES: dict[Format, str] = {"openvino": "openvino", "onnx": "onnxruntime"}

WEIGHTS, STATES = "weights", "states"


class Session(Protocol):
    """A loaded graph."""

    def run(self, ids: np.ndarray, mask: np.ndarray, keep: np.ndarray, output: str) -> np.ndarray:
        """One output, ``"weights"`` or ``"states"``, float32; see :class:`PaddedEncoder` for the shapes."""


def open_session(format: Format, path: Path, *, bfloat16: bool, threads: int) -> Session:
    """Load a graph.

    Args:
        format: what runs it.
        path: its file.
        bfloat16: compute in bfloat16 where the processor has it and the format allows it.
        threads: of the processor.

    Raises:
        MissingPartError: if the package that runs it is not installed.
    """
    require_runtime(PACKAGES[format], format)
    kind = OpenVinoSession if format == "openvino" else OnnxSession
    return kind(path, bfloat16=bfloat16, threads=threads)


def require_runtime(package: str, format: Format) -> None:
    """Refuse to go on without a package that a format needs.

    Raises:
        MissingPartError: then.
    """
    require_package(package, f"graphs for {format}", format)


class OpenVinoSession:
    """A graph in OpenVINO, on the processor."""

    def __init__(self, path: Path, *, bfloat16: bool, threads: int) -> None:
        import openvino

        core = openvino.Core()
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 and has_bfloat16() else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            # Threads that are bound to processors stand in one another's way where several processes run.
            "ENABLE_CPU_PINNING": False,
        }
        self._request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()
        self._lock = threading.Lock()

    def run(self, ids: np.ndarray, mask: np.ndarray, keep: np.ndarray, output: str) -> np.ndarray:
        """See :class:`Session`."""
        given = {"ids": ids, "mask": mask.astype(np.int64), "keep": keep}
        with self._lock:
            found = self._request.infer(given, share_inputs=True, share_outputs=True)
            return np.array(found[output])


class OnnxSession:
    """A graph in ONNX Runtime, on the processor."""

    def __init__(self, path: Path, *, bfloat16: bool, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait in a loop take the processor from others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, ids: np.ndarray, mask: np.ndarray, keep: np.ndarray, output: str) -> np.ndarray:
        """See :class:`Session`."""
        found: np.ndarray
        (found,) = self._session.run([output], {"ids": ids, "mask": mask.astype(np.int64), "keep": keep})
        return found


def has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this processor."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
