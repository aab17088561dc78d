"""Small folders of pictures and sounds for tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from tests.unit.data.sounds import voiced, wav_bytes

HEIGHT, WIDTH = 20, 24
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 60, 220), (200, 200, 40))


def picture(label: int, number: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """An RGB picture of a class's colour under noise, `(H, W, 3)` uint8; never the same twice."""
    random = np.random.default_rng([label, number])
    return np.clip(random.normal(COLOURS[label], 30, (*size, 3)), 0, 255).astype(np.uint8)


def picture_bytes(pixels: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def save(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def picture_folder(
    root: Path,
    *,
    classes: tuple[str, ...] = ("red", "green", "blue"),
    count: int = 12,
    sizes: tuple[tuple[int, int], ...] = ((HEIGHT, WIDTH),),
) -> Path:
    """A folder of class folders, every third file a JPEG."""
    for label, name in enumerate(classes):
        for number in range(count):
            pixels = picture(label, number, sizes[number % len(sizes)])
            form = "JPEG" if number % 3 == 0 else "PNG"
            save(root / name / f"{number:02d}.{form.lower()}", picture_bytes(pixels, form))
    return root


def sound_bytes(label: int, speaker: int, number: int) -> bytes:
    """A WAV file: words differ in length and loudness over time, speakers in pitch."""
    sound = voiced(0.25 + 0.2 * label, 8000 + 3000 * speaker)
    faded = sound * np.linspace(1, 0.2 + 0.1 * number, len(sound))
    return wav_bytes(np.rint(faded * 20_000).astype("<i2").tobytes(), rate_hz=8000)
