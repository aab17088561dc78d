"""Pictures of every kind come out as uint8 of the wanted size; broken ones as one line that names them."""

import io
import struct
import sys
import zlib
from contextlib import suppress

import numpy as np
import png
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from obfnet.core.errors import DataError, MissingExtraError, UsageError
from obfnet.data.pictures import MAX_PIXELS, decode_picture, jpeg_bytes, resized_pictures


def scene(height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth RGB picture whose four corners differ, so that a turn or a flip shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    red, green = 255 * rows / max(height - 1, 1), 255 * columns / max(width - 1, 1)
    return np.stack([red, green, (red + green) / 4], axis=2).round().astype(np.uint8)


def file_of(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pixels(data: bytes, *, channels: int = 3, size: tuple[int, int] | None = None) -> np.ndarray:
    return decode_picture(data, name="x.jpg", channels=channels, size=size).pixels


def png_file(rows: np.ndarray, **options: object) -> bytes:
    """A PNG by another library than the one under test; 16 bits where `rows` are uint16."""
    planes = 1 if rows.ndim == 2 else rows.shape[2]
    writer = png.Writer(
        rows.shape[1],
        rows.shape[0],
        greyscale=planes < 3,
        alpha=planes in (2, 4),
        bitdepth=8 * rows.itemsize,
        **options,
    )
    file = io.BytesIO()
    writer.write(file, rows.reshape(rows.shape[0], -1))
    return file.getvalue()


RGB = Image.fromarray(scene())
JPEG = file_of(RGB, "JPEG", quality=95)


def test_a_png_keeps_its_pixels_channels_first() -> None:
    picture = decode_picture(png_file(scene()), name="x.png", channels=3, size=None)
    np.testing.assert_array_equal(picture.pixels, scene().transpose(2, 0, 1))
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert picture.pixels.flags.writeable
    assert picture.original_size == (24, 32)
    assert not picture.resized


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "BMP", "PNG"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_common_kinds_give_the_same_picture(form: str, mode: str) -> None:
    got = pixels(file_of(RGB.convert(mode), form, quality=95), channels=3)
    wanted = np.array(RGB.convert(mode).convert("RGB")).transpose(2, 0, 1)
    assert np.abs(got.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("size", [None, (12, 16)])
def test_grey_is_the_luma_of_the_colours(size: tuple[int, int] | None) -> None:
    colours = pixels(JPEG, size=size).astype(float)
    luma = 0.299 * colours[0] + 0.587 * colours[1] + 0.114 * colours[2]
    grey = pixels(JPEG, channels=1, size=size)
    assert grey.shape == (1, *(size or (24, 32)))
    assert np.abs(grey[0] - luma).max() <= 4


def test_cmyk_becomes_rgb() -> None:
    for inverted in (RGB.convert("CMYK"), Image.new("CMYK", (32, 24), (0, 255, 255, 0))):
        data = file_of(inverted, "JPEG", quality=95)
        wanted = np.array(inverted.convert("RGB")).transpose(2, 0, 1)
        assert np.abs(pixels(data).astype(int) - wanted).mean() < 4
        assert pixels(data, channels=1, size=(4, 4)).shape == (1, 4, 4)
    assert (pixels(data)[0] > 250).all()
    assert (pixels(data)[1:] < 5).all()


@pytest.mark.parametrize("planes", [1, 3])
def test_16_bits_are_scaled_not_clipped(planes: int) -> None:
    values = np.linspace(0, 65535, 24 * 32 * planes).astype(np.uint16).reshape(24, 32, planes).squeeze()
    got = pixels(png_file(values), channels=planes)
    stored = values.reshape(24, 32, planes).transpose(2, 0, 1)
    np.testing.assert_array_equal(got, stored >> 8)
    assert np.abs(got - stored / 257).max() < 1
    # An 8-bit picture that was widened comes back as it was.
    widened = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    np.testing.assert_array_equal(pixels(png_file(widened), channels=1)[0], widened // 257)


def test_16_bit_transparency_does_not_matter_to_other_pixels() -> None:
    grey = np.array([[1000, 30000]], np.uint16)
    assert pixels(png_file(grey, transparent=1000), channels=1).tolist() == [[[255, 30000 >> 8]]]
    colours = np.array([[[1000, 2000, 3000], [40000, 50000, 60000]]], np.uint16)
    got = pixels(png_file(colours, transparent=(1000, 2000, 3000)))
    assert got[:, 0, 1].tolist() == [40000 >> 8, 50000 >> 8, 60000 >> 8]


def test_a_palette_is_looked_up() -> None:
    palette = RGB.quantize(64)
    wanted = np.array(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels(file_of(palette, "PNG")), wanted)
    np.testing.assert_array_equal(pixels(file_of(RGB.convert("1"), "PNG"))[0] > 0, np.array(RGB.convert("1")))


def test_what_is_transparent_is_laid_over_white() -> None:
    alpha = np.array([[[255, 0, 0, 0], [255, 0, 0, 255], [0, 0, 0, 128]]], np.uint8)
    assert pixels(png_file(alpha)).reshape(3, 3).T.tolist() == [[255] * 3, [255, 0, 0], [127] * 3]
    grey = np.array([[[7, 0], [7, 255]]], np.uint8)
    assert pixels(png_file(grey), channels=1).tolist() == [[[255, 7]]]
    for transparency in (0, bytes([0, 255])):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((1, 0), 1)
        got = pixels(file_of(image, "PNG", transparency=transparency))
        assert got[:, 0].T.tolist() == [[255] * 3, [40, 50, 60]]


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue", "lime")]
    for form in ("GIF", "WEBP", "PNG"):
        lossless = {"lossless": True} if form == "WEBP" else {}
        data = file_of(frames[0], form, save_all=True, append_images=frames[1:], **lossless)
        assert pixels(data).reshape(3, -1).T.tolist() == [[255, 0, 0]] * 24


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_exif_turns_the_picture(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = file_of(Image.fromarray(scene(40, 64)), form, exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    np.testing.assert_array_equal(pixels(data), np.array(upright).transpose(2, 0, 1))
    # The target is upright too, whether or not the decoder reduces on its own.
    small = decode_picture(data, name="x", channels=3, size=(upright.height // 8, upright.width // 8))
    wanted = np.array(upright.resize((upright.width // 8, upright.height // 8), Image.Resampling.BOX))
    assert np.abs(small.pixels.astype(int) - wanted.transpose(2, 0, 1)).mean() < 4
    assert small.original_size == (upright.height, upright.width)
    assert small.resized


def test_damaged_metadata_do_not_spoil_the_pixels() -> None:
    for exif in (b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"):
        assert pixels(file_of(RGB, "JPEG", exif=exif)).shape == (3, 24, 32)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_the_centre_is_cut_to_the_target_s_aspect(form: str) -> None:
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    got = pixels(file_of(Image.fromarray(wide), form), size=(20, 20))
    assert np.abs(got.astype(int) - 200).mean() < 4
    tall = pixels(file_of(Image.fromarray(wide.transpose(1, 0, 2)), form), size=(10, 20))
    assert np.abs(tall.astype(int) - 200).mean() < 4


def test_reduction_is_antialiased() -> None:
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    for form in ("PNG", "JPEG"):
        got = pixels(file_of(Image.fromarray(stripes), form, quality=100), channels=1, size=(16, 16))
        assert np.abs(got.astype(int) - 128).max() <= 20


def test_a_single_pixel_is_spread() -> None:
    for form in ("PNG", "JPEG", "GIF", "BMP"):
        data = file_of(Image.new("RGB", (1, 1), (255, 0, 0)), form)
        got = decode_picture(data, name="x", channels=3, size=(5, 7))
        assert got.pixels.shape == (3, 5, 7)
        assert np.ptp(got.pixels, axis=(1, 2)).max() == 0
        assert got.original_size == (1, 1)


def test_50_megapixels_decode() -> None:
    data = file_of(Image.new("RGB", (8000, 6250), "teal"), "JPEG")
    picture = decode_picture(data, name="large.jpg", channels=3, size=(64, 64))
    assert picture.original_size == (6250, 8000)
    assert np.abs(picture.pixels[:, 0, 0].astype(int) - [0, 128, 128]).max() < 6


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and holds next to nothing."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (JPEG[: len(JPEG) // 2], "whole, sound picture in 'cat.jpg', got one cut short"),
        (JPEG[:100], "in 'cat.jpg'"),
        (b"dear diary, today\n" * 50, r"a picture in 'cat.jpg' \(JPEG, .*something else"),
        (b"", "something else"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "something else"),
        (file_of(RGB, "TIFF"), "something else"),
        (png_header(8001, 8000), "64 megapixels in 'cat.jpg', got 8001x8000"),
        (png_header(12_000, 12_000), "64 megapixels in 'cat.jpg', got 12000x12000"),
        (png_header(100_000, 100_000), "64 megapixels in 'cat.jpg'"),
        (png_header(100, 100), "whole, sound picture in 'cat.jpg'"),
        (png_header(0, 10), "in 'cat.jpg'"),
        (b"GIF89a" + bytes(20), "in 'cat.jpg'"),
    ],
)
def test_anything_else_is_one_line_that_names_the_file(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_picture(data, name="cat.jpg", channels=3, size=(32, 32))
    assert "\n" not in str(caught.value)
    assert "--skip-bad" in str(caught.value) or "scale it down" in str(caught.value)


def test_the_bound_is_inclusive_and_a_name_stays_in_its_line() -> None:
    assert MAX_PIXELS == 8000 * 8000
    with pytest.raises(DataError, match="sound picture"):
        pixels(png_header(8000, 8000), size=(4, 4))
    with pytest.raises(DataError) as caught:
        decode_picture(b"", name="a\nb\udcff.jpg", channels=3, size=None)
    assert str(caught.value).isprintable()


@given(st.data())
def test_no_cut_gives_part_of_a_picture(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP"]))
    whole = file_of(RGB, form)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with suppress(DataError):
        np.testing.assert_array_equal(pixels(part), pixels(whole))


@given(st.data())
def test_damaged_bytes_give_a_picture_or_a_data_error(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP"]))
    damaged = bytearray(file_of(RGB, form, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        got = pixels(bytes(damaged), size=data.draw(st.sampled_from([None, (3, 5)])))
        assert got.ndim == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sample_becomes_the_jpeg_of_its_pixels(channels: int) -> None:
    sample = scene().transpose(2, 0, 1)[:channels]
    data = jpeg_bytes(sample, quality=95)
    assert np.abs(pixels(data, channels=channels).astype(int) - sample).mean() < 4
    assert jpeg_bytes(sample.astype(np.float32) / np.float32(255), quality=95) == data
    assert len(jpeg_bytes(sample)) < len(data)
    for wrong in (sample[0], sample.astype(np.float64), sample[:0]):
        with pytest.raises(UsageError, match="one picture"):
            jpeg_bytes(wrong)


def test_unusable_arguments_are_refused() -> None:
    for channels, size in ((2, None), (3, (0, 4))):
        with pytest.raises(UsageError):
            decode_picture(JPEG, name="x", channels=channels, size=size)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[pictures\]"):
        pixels(JPEG)
    with pytest.raises(MissingExtraError, match=r"obfnet\[pictures\]"):
        jpeg_bytes(scene().transpose(2, 0, 1))


@pytest.mark.parametrize(("channels", "size"), [(3, (48, 64)), (1, (12, 16)), (3, (20, 20))])
def test_pictures_in_memory_are_resized_as_files_are(channels: int, size: tuple[int, int]) -> None:
    samples = np.stack([scene().transpose(2, 0, 1), scene()[::-1].transpose(2, 0, 1)])
    files = [png_file(sample.transpose(1, 2, 0)) for sample in samples]
    wanted = np.stack([pixels(data, channels=channels, size=size) for data in files])
    np.testing.assert_array_equal(resized_pictures(samples, channels=channels, size=size), wanted)
    units = (samples / np.float32(255)).astype(np.float32)
    np.testing.assert_array_equal(resized_pictures(units, channels=channels, size=size), wanted)
