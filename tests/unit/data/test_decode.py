"""Every kind of image file becomes RGB, or says why not."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageFile

from backbench.data.decode import decode, read_size
from backbench.data.preprocess import Square
from backbench.errors import DataError

ORIENTATION = 0x0112


def saved(image, path, **options):
    image.save(path, **options)
    return path


def test_rgb_is_exact(tmp_path, gradient):
    path = saved(Image.fromarray(gradient), tmp_path / "an image.png")
    pixels = decode(path)
    assert np.array_equal(pixels, gradient)
    assert pixels.dtype == np.uint8
    assert read_size(path) == (24, 32)


def test_gray_is_repeated(tmp_path, gradient):
    pixels = decode(saved(Image.fromarray(gradient[..., 0]), tmp_path / "a.png"))
    assert np.array_equal(pixels, np.repeat(gradient[..., :1], 3, axis=-1))


def test_black_and_white(tmp_path):
    pixels = decode(saved(Image.new("1", (4, 3), 1), tmp_path / "a.png"))
    assert pixels.shape == (3, 4, 3)
    assert np.all(pixels == 255)


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_sixteen_bits_keep_the_upper_eight(tmp_path, name):
    values = np.array([[0, 255, 256], [0x1234, 0x8000, 0xFFFF]], np.uint16)
    pixels = decode(saved(Image.fromarray(values), tmp_path / name))
    assert pixels[..., 0].tolist() == [[0, 0, 1], [0x12, 0x80, 0xFF]]


def test_sixteen_bit_pgm(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + bytes([0x12, 0x34, 0xFF, 0xFF]))
    assert decode(path)[..., 0].tolist() == [[0x12, 0xFF]]


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(tmp_path, mode, alpha):
    color = (100, 100, 100, alpha) if mode == "RGBA" else (100, alpha)
    pixels = decode(saved(Image.new(mode, (4, 3), color), tmp_path / "a.png"))
    expected = 255 + (100 - 255) * alpha / 255
    assert np.abs(pixels - expected).max() <= 1


def test_palette(tmp_path, gradient):
    path = tmp_path / "a.gif"
    Image.fromarray(gradient).quantize(256).save(path)
    assert np.abs(decode(path).astype(int) - gradient).mean() < 8


def test_palette_with_transparent_color_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 3), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    assert np.all(decode(saved(image, tmp_path / "a.png")) == (200, 0, 0))
    assert np.all(decode(saved(image, tmp_path / "b.png", transparency=1)) == 255)


def test_cmyk(tmp_path):
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = decode(saved(image, tmp_path / "a.jpg", quality=95)).astype(int)
    assert np.abs(pixels - (255, 0, 0)).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, suffix):
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :16] = (250, 0, 0)
    upright[8:, 16:] = (0, 0, 250)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image = Image.fromarray(np.ascontiguousarray(undo(upright)))
    path = saved(image, tmp_path / f"a.{suffix}", exif=exif, quality=95)
    assert read_size(path) == (16, 32)
    assert np.abs(decode(path).astype(int) - upright).mean() < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_passed_over(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8), "red").save(path, exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7fjunk")
    assert decode(path).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("size", "side", "shape"), [((64, 48), 16, 16), ((48, 64), 16, 16), ((8, 8), 32, 32)]
)
def test_resize_makes_a_square_of_the_middle(tmp_path, size, side, shape):
    path = saved(Image.new("RGB", size, "red"), tmp_path / "a.png")
    pixels = decode(path, Square(side, side))
    assert pixels.shape == (shape, shape, 3)
    assert np.all(pixels == (255, 0, 0))


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
def test_truncated_files_are_named(tmp_path, gradient, suffix):
    path = saved(Image.fromarray(np.tile(gradient, (4, 4, 1))), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"a\.{suffix}: .+"):
        decode(path)


def test_truncated_files_are_named_whatever_a_plugin_has_set(tmp_path, gradient, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # as much published code does
    path = saved(Image.fromarray(np.tile(gradient, (4, 4, 1))), tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"a\.jpg: .+"):
        decode(path)


def test_reasons(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "folder.jpg").mkdir()
    Image.new("F", (2, 2)).save(tmp_path / "float.tiff")
    for name, reason in {
        "empty.jpg": "the file is empty",
        "text.jpg": "not an image",
        "gone.jpg": "no such file",
        "folder.jpg": "is a directory",
        "float.tiff": "floating point",
    }.items():
        with pytest.raises(DataError, match=f"{name}: .*{reason}"):
            decode(tmp_path / name)


def test_header_problems_are_named(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match="the file is empty"):
        read_size(tmp_path / "empty.jpg")


def test_twelve_bits_keep_the_upper_eight_and_of_32_the_range_is_unknown(tmp_path):
    packed = bytes([0x00, 0x0F, 0xFF])  # 0 and 4095
    tags = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    tags.append((279, len(packed)))
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<I", 12)
    body = struct.pack("<H", len(tags)) + rows + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + start + packed + b"\0" + body)
    assert decode(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255]
    wide = saved(Image.fromarray(np.array([[0, 255]], np.int32)), tmp_path / "b.tif")
    with pytest.raises(DataError, match="which of its 32 bits are used is unknown"):
        decode(wide)


def test_alpha_is_kept_upright(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = saved(Image.new("RGBA", (8, 4), (1, 2, 3, 0)), tmp_path / "a.png", exif=exif)
    assert decode(path, alpha=True).shape == (8, 4, 4)
    gray = np.array([[0, 0x80FF]], np.uint16)
    assert decode(saved(Image.fromarray(gray), tmp_path / "b.png"), alpha=True).max() == 0x80
