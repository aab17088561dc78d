"""A case's samples as picture files, one folder a class: for other tools, and for `obfnet protect`."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import png

from obfnet.core.errors import ShapeError, UsageError
from obfnet.core.files import claim_output, write_atomic
from obfnet.core.progress import Progress
from obfnet.core.spec import as_unit
from obfnet.data.case import Dataset


def png_bytes(sample: npt.NDArray[np.float32]) -> bytes:
    """One sample as a PNG file.

    Args:
        sample: `(C, H, W)` float32 in [0, 1], C 1 (grey) or 3 (red, green, blue); values outside are clipped.

    Returns:
        The file's content, 8 bits a channel.

    Raises:
        ShapeError: the sample is no picture.
    """
    if sample.ndim != 3 or sample.shape[0] not in (1, 3) or 0 in sample.shape:
        raise ShapeError("a picture of shape (1, H, W) or (3, H, W)", str(sample.shape), "pass one sample")
    channels, height, width = sample.shape
    levels = np.rint(np.clip(np.nan_to_num(sample), 0, 1) * 255).astype(np.uint8)
    rows = levels.transpose(1, 2, 0).reshape(height, width * channels)
    buffer = BytesIO()
    png.Writer(width=width, height=height, greyscale=channels == 1, bitdepth=8, compression=9).write(
        buffer, rows
    )
    return buffer.getvalue()


def export_pictures(
    dataset: Dataset, out: Path, *, part: str, most: int | None, progress: Progress
) -> dict[str, int]:
    """Writes the samples of one part as PNG files, `out/CLASS/NUMBER.png`; a former export is replaced.

    Args:
        dataset: A loaded case of pictures.
        out: The folder; one that holds anything but a former export is refused.
        part: `train`, `validation` or `test`.
        most: So many of each class at most, the first ones; None takes all.
        progress: Told of every step.

    Returns:
        For each class the number of pictures.

    Raises:
        UsageError: samples that are no pictures.
        OutputError: the folder holds something else, or cannot be written.
    """
    if dataset.spec.kind != "pictures":
        raise UsageError("a case of pictures", f"{dataset.spec.kind} ({dataset.spec.name})", "name another")
    split, written = getattr(dataset, part), Counter[str]()
    progress.start("write pictures", len(split.labels))
    with claim_output(out, kind="pictures"), _whole(out):
        for number, label in enumerate(split.labels):
            name = dataset.spec.classes[label]
            if most is None or written[name] < most:
                (out / name).mkdir(exist_ok=True)
                sample = as_unit(split.samples[number : number + 1])[0]
                write_atomic(out / name / f"{number:06d}.png", png_bytes(sample))
                written[name] += 1
            progress.advance(number + 1)
    progress.finish()
    return dict(written)


@contextmanager
def _whole(folder: Path) -> Iterator[None]:
    # Pictures of another part, or half of one, must not pass for what was asked for.
    _clear(folder)
    try:
        yield
    except BaseException:
        _clear(folder)
        raise


def _clear(folder: Path) -> None:
    for former in folder.glob("*/*.png"):
        former.unlink()
    for former in folder.iterdir():
        if former.is_dir() and not any(former.iterdir()):
            former.rmdir()
