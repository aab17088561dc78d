"""Samples from arrays and files: what is read, and what is refused with a line that helps."""

import dataclasses
import gzip
import tracemalloc

import numpy as np
import png
import pytest

from obfnet.core.errors import DataError, DtypeError, InputError, RangeError, ShapeError
from obfnet.core.spec import InputSpec
from obfnet.data.idx import idx_bytes
from obfnet.data.mfcc import PREPROCESSING, speech_features
from obfnet.data.pictures import decode_picture
from obfnet.data.wav import read_wav
from obfnet.edge import read_samples
from obfnet.training.inference import wire_spec
from tests.unit.data.files import picture, picture_bytes, sound_bytes
from tests.unit.data.sounds import wav_bytes
from tests.wire.models import SHAPE, SPEC, raw_samples

PIXELS = raw_samples(3, dtype="uint8")
EXPECTED = PIXELS.astype(np.float32) / np.float32(255)
RGB = InputSpec(shape=(3, 2, 4), dtype="float32", low=0, high=1, layout="CHW", preprocessing="uint8 / 255")
RESIZED = InputSpec(
    shape=(3, 16, 16),
    dtype="uint8",
    low=0,
    high=255,
    layout="CHW",
    preprocessing="RGB uint8, centred and resized to 16x16",
)
SPEECH = InputSpec(
    shape=(1, 20, 45), dtype="float32", low=0, high=1, layout="CHW", preprocessing=PREPROCESSING
)


def write_png(path, rows, **options):
    with path.open("wb") as file:
        png.Writer(width=options.pop("width"), height=len(rows), **options).write(file, rows)
    return path


def test_arrays_are_taken_as_they_are():
    assert read_samples(EXPECTED, SPEC) is not None
    assert (read_samples(EXPECTED, SPEC) == EXPECTED).all()
    assert read_samples(EXPECTED[0], SPEC).shape == (1, *SHAPE)
    assert read_samples(EXPECTED[:, :, ::-1], SPEC).flags.c_contiguous


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (PIXELS, DtypeError),
        (EXPECTED.astype(np.float64), DtypeError),
        (EXPECTED[:, 0], ShapeError),
        (EXPECTED.reshape(3, 16), ShapeError),
        (EXPECTED[:0], ShapeError),
        (EXPECTED * 2, RangeError),
        (EXPECTED * np.float32(np.nan), RangeError),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array, error):
    with pytest.raises(error):
        read_samples(array, SPEC)


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 1, 4, 4)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_and_their_items(tmp_path, shape, packed):
    data = idx_bytes(PIXELS.reshape(shape))
    path = tmp_path / "images-idx3-ubyte"
    path.write_bytes(gzip.compress(data) if packed else data)
    assert (read_samples(path, SPEC) == EXPECTED).all()
    assert (read_samples(f"{path}#2", SPEC) == EXPECTED[2:]).all()
    with pytest.raises(DataError, match="below 3"):
        read_samples(f"{path}#3", SPEC)


def test_npy_files(tmp_path):
    np.save(tmp_path / "batch.npy", EXPECTED)
    np.save(tmp_path / "one.npy", EXPECTED[1])
    np.save(tmp_path / "pixels.npy", PIXELS)
    assert (read_samples(tmp_path / "batch.npy", SPEC) == EXPECTED).all()
    assert (read_samples(f"{tmp_path / 'batch.npy'}#1", SPEC) == EXPECTED[1:2]).all()
    assert (read_samples(tmp_path / "one.npy", SPEC) == EXPECTED[1:2]).all()
    assert (read_samples(tmp_path / "pixels.npy", SPEC) == EXPECTED).all()


def test_pixels_need_a_spec_that_says_how_to_scale_them(tmp_path):
    np.save(tmp_path / "pixels.npy", PIXELS)
    spec = InputSpec(shape=SHAPE, dtype="float32", low=0, high=1, layout="CHW", preprocessing="MFCC, scaled")
    with pytest.raises(DtypeError, match="MFCC"):
        read_samples(tmp_path / "pixels.npy", spec)


@pytest.mark.parametrize("interlace", [False, True])
def test_grey_png(tmp_path, interlace):
    path = write_png(tmp_path / "a.png", PIXELS[0, 0].tolist(), width=4, greyscale=True, interlace=interlace)
    assert (read_samples(path, SPEC) == EXPECTED[:1]).all()


def test_grey_png_of_few_bits_covers_the_whole_range(tmp_path):
    path = write_png(tmp_path / "a.png", [[0, 1, 2, 3]] * 4, width=4, greyscale=True, bitdepth=2)
    assert read_samples(path, SPEC)[0, 0, 0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_colour_png_goes_where_the_layout_has_its_channels(tmp_path, layout):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    path = write_png(tmp_path / "a.png", pixels.reshape(2, 12).tolist(), width=4, greyscale=False)
    shape = (3, 2, 4) if layout == "CHW" else (2, 4, 3)
    spec = InputSpec(shape=shape, dtype="uint8", low=0, high=255, layout=layout, preprocessing="none")
    read = read_samples(path, spec)[0]
    assert (read == (pixels.transpose(2, 0, 1) if layout == "CHW" else pixels)).all()


@pytest.mark.parametrize(
    ("options", "rows", "error"),
    [
        ({"width": 5, "greyscale": True}, [[0] * 5] * 4, InputError),
        ({"width": 5000, "greyscale": True}, [[0] * 5000] * 50, ShapeError),
        ({"width": 4, "greyscale": False}, [[0] * 12] * 4, ShapeError),
        ({"width": 4, "greyscale": True, "alpha": True}, [[0] * 8] * 4, DataError),
        ({"width": 4, "greyscale": True, "bitdepth": 16}, [[0] * 4] * 4, DataError),
    ],
)
def test_png_that_does_not_fit_is_refused(tmp_path, options, rows, error):
    with pytest.raises(error):
        read_samples(write_png(tmp_path / "a.png", rows, **options), SPEC)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense of some length",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"\x89PNG\r\n\x1a\n",
        b"\x93NUMPY\x01\x00v\x00{",
        b"\0\0\x08\x03\0\0\0\x05",
        b"\x1f\x8bnonsense",
    ],
)
def test_broken_files_are_refused(tmp_path, content):
    path = tmp_path / "sample"
    path.write_bytes(content)
    with pytest.raises(DataError):
        read_samples(path, SPEC)


def test_truncated_png_is_refused(tmp_path):
    path = write_png(tmp_path / "a.png", PIXELS[0, 0].tolist(), width=4, greyscale=True)
    whole = path.read_bytes()
    for length in range(8, len(whole) - 12, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError):
            read_samples(path, SPEC)


def test_pickles_are_never_loaded(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="without pickles"):
        read_samples(tmp_path / "objects.npy", SPEC)


def test_missing_files_and_folders_are_refused(tmp_path):
    for source in (tmp_path / "missing", tmp_path, f"{tmp_path / 'missing'}#3"):
        with pytest.raises(DataError, match="check the path"):
            read_samples(source, SPEC)


def test_a_file_may_have_a_hash_in_its_name(tmp_path):
    np.save(tmp_path / "batch#1.npy", EXPECTED)
    (tmp_path / "batch#1.npy").rename(tmp_path / "batch#1")
    assert read_samples(tmp_path / "batch#1", SPEC).shape == (3, *SHAPE)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("size", [(16, 16), (40, 20), (5, 5)])
def test_pictures_of_any_size_and_kind_are_what_training_made_of_them(tmp_path, form, size):
    data = picture_bytes(picture(0, 0, size), form)
    path = tmp_path / "a picture"
    path.write_bytes(data)
    expected = decode_picture(data, name="x", channels=3, size=(16, 16)).pixels
    for source in (path, f"{path}#0"):
        assert (read_samples(source, RESIZED) == expected[None]).all()
    with pytest.raises(DataError, match="an index below 1"):
        read_samples(f"{path}#1", RESIZED)


def test_pixels_are_scaled_and_resized_where_the_spec_says_both(tmp_path):
    data = picture_bytes(picture(0, 0, (40, 20)), "PNG")
    (tmp_path / "a.png").write_bytes(data)
    spec = wire_spec(RESIZED, "float32")
    expected = decode_picture(data, name="x", channels=3, size=(16, 16)).pixels[None]
    np.testing.assert_allclose(read_samples(tmp_path / "a.png", spec), expected / 255, rtol=1e-6)


def test_a_grey_pool_takes_a_coloured_picture(tmp_path):
    data = picture_bytes(picture(1, 0, (16, 16)), "JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    spec = dataclasses.replace(RESIZED, shape=(1, 16, 16))
    expected = decode_picture(data, name="x", channels=1, size=None).pixels
    assert (read_samples(tmp_path / "a.jpg", spec) == expected[None]).all()


def test_a_jpeg_is_not_bent_where_the_spec_does_not_say_so(tmp_path):
    for name, size in (("fits.jpg", (2, 4)), ("large.jpg", (4, 8)), ("turned.jpg", (4, 2))):
        (tmp_path / name).write_bytes(picture_bytes(picture(0, 0, size), "JPEG"))
    pixels = decode_picture((tmp_path / "fits.jpg").read_bytes(), name="x", channels=3, size=None).pixels
    assert (read_samples(tmp_path / "fits.jpg", RGB) == pixels[None].astype(np.float32) / 255).all()
    for name in ("large.jpg", "turned.jpg"):
        with pytest.raises(ShapeError):
            read_samples(tmp_path / name, RGB)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a_picture_cut_short_is_refused(tmp_path, form):
    whole = picture_bytes(picture(0, 0, (40, 40)), form)
    (tmp_path / "a").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=str(tmp_path / "a")):
        read_samples(tmp_path / "a", RESIZED)


@pytest.mark.parametrize(
    ("content", "spec"),
    [
        (picture_bytes(picture(0, 0), "JPEG"), SPEECH),
        (picture_bytes(picture(0, 0), "JPEG"), dataclasses.replace(RGB, shape=(24,), layout="C")),
        (picture_bytes(picture(0, 0), "GIF"), SPEC),
        (picture_bytes(picture(0, 0), "WEBP"), SPEC),
        (sound_bytes(0, 0, 0), SPEC),
        (sound_bytes(0, 0, 0), RESIZED),
        (b"RIFF", SPEECH),
        (b"BMW is no picture", RESIZED),
        (b"\xff\xd8\xff", RESIZED),
    ],
)
def test_a_file_of_the_wrong_kind_for_the_pool_is_refused(tmp_path, content, spec):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError if spec is SPEECH and content[:1] == b"\xff" else DataError) as caught:
        read_samples(tmp_path / "a", spec)
    assert caught.value.remedy


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 96_000])
def test_a_sound_is_what_training_made_of_it(tmp_path, rate_hz):
    noise = np.random.default_rng(0).integers(-9_000, 9_000, (2 * rate_hz, 2)).astype("<i2")
    data = wav_bytes(noise.tobytes(), rate_hz=rate_hz, channels=2)
    (tmp_path / "a.wav").write_bytes(data)
    read = read_samples(tmp_path / "a.wav", SPEECH)
    assert (read == speech_features(read_wav(data))[None]).all()
    assert (read_samples(f"{tmp_path / 'a.wav'}#0", SPEECH) == read).all()


@pytest.mark.parametrize("payload", [bytes(16_000), bytes(2), b"\xff\x7f"])
def test_silence_and_a_single_sample_are_sounds(tmp_path, payload):
    (tmp_path / "a.wav").write_bytes(wav_bytes(payload))
    SPEECH.check(read_samples(tmp_path / "a.wav", SPEECH))


def test_ten_minutes_of_sound_are_its_first_second(tmp_path):
    payload = np.random.default_rng(0).integers(-9_000, 9_000, 8_000 * 600).astype("<i2").tobytes()
    (tmp_path / "long.wav").write_bytes(wav_bytes(payload))
    (tmp_path / "short.wav").write_bytes(wav_bytes(payload[: 2 * 8_000 * 2]))
    read_samples(tmp_path / "short.wav", SPEECH)
    tracemalloc.start()
    long = read_samples(tmp_path / "long.wav", SPEECH)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (long == read_samples(tmp_path / "short.wav", SPEECH)).all()
    # The file itself, and what a few seconds take.
    assert peak_bytes < len(payload) + 30_000_000


@pytest.mark.parametrize(
    "content",
    [
        wav_bytes(b""),
        wav_bytes(bytes(4))[:30],
        wav_bytes(np.full(9, np.nan, "<f4").tobytes(), code=3, bits=32),
        wav_bytes(bytes(8), code=7, bits=8),
        b"RIFF\x04\0\0\0WAVE",
    ],
)
def test_a_broken_sound_is_refused_by_name(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.wav"):
        read_samples(tmp_path / "a.wav", SPEECH)
