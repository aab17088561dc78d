"""ONNX Runtime, set up to run a graph that is not trusted yet: one thread, silent, with a memory limit.

Imported only when a graph is run, since loading the engine takes longer than everything else here. What
a device runs its checked graphs with is another matter (`edge`).
"""

import contextlib
import ctypes
from functools import cache
from typing import Any, Final

MAX_MEMORY_BYTES: Final = 1024 * 1024 * 1024
_FATAL_ONLY: Final = 4


def start_limited_session(graph: bytes) -> Any:
    """An ONNX Runtime session for a graph that passed the structural checks.

    Graph rewriting is off, so that everything is computed where the memory limit holds.

    Args:
        graph: ONNX bytes.

    Returns:
        An `onnxruntime.InferenceSession` on one thread of the processor.

    Raises:
        Exception: of ONNX Runtime's own kinds, which share no base: the graph does not load.

    Does not guarantee: a time limit. The limit of 1 GiB holds for tensors, for all such sessions of the
    process together.
    """
    import onnxruntime

    _prepare()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def shrinking_run() -> Any:
    """Options of the last run of a limited session: the memory that its runs took is let go."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def give_back_memory() -> None:
    """Asks the C library to return what was let go to the system, where it has a call for that (glibc).

    It keeps large blocks that were freed once, for the next one: a device checks a bundle and then needs
    little. Takes long in a process with much memory.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def _prepare() -> None:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # Extending by what is asked for (1), not by powers of two: small graphs then cost little.
    limit = onnxruntime.OrtArenaCfg({"max_mem": MAX_MEMORY_BYTES, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, limit)
