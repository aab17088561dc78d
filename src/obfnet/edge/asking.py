"""Asks a backend about many samples, in small requests, and says how far it is."""

from collections.abc import Iterator

from obfnet.core.progress import Progress
from obfnet.data.rows import AnyRows
from obfnet.edge.device import Answer, Device, UnsafeRawPassthrough


def asked(
    asker: Device | UnsafeRawPassthrough,
    samples: AnyRows,
    progress: Progress,
    *,
    batch: int = 1,
    task: str = "ask the backend",
) -> Iterator[Answer]:
    """Answers to samples in their order, each request sent when its answer is wanted.

    Args:
        asker: Who sends; its errors pass through.
        samples: `(N, *shape)` of its spec, read request by request.
        progress: Told of every answer.
        batch: Samples a request. With a device that picks for each request they share a bundle, and are then
            not independent of each other.
        task: What it is called.

    Yields:
        The answer to each request.
    """
    progress.start(task, len(samples))
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        yield asker.infer(part)
        progress.advance(start + len(part))
    progress.finish()
