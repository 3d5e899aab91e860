"""Decoding and the image cache: what pixels become, which files are refused, no cache file is trusted."""

import os
import resource
import shutil
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import picture, save
from PIL import Image

from diffect.data import decode
from diffect.data.datamodule import DataModule
from diffect.data.sample import IMAGE
from diffect.data.sources.mvtec import Folder
from diffect.data.store import Store, open_samples, row_dtype
from diffect.storage.caches import cache_root

Make = Callable[..., Path]


def open_store(root: Path, cache: Path, size: int = 32, aspect: str = "pad") -> Store:
    return open_samples(Folder(root).samples("part"), IMAGE, (size, size), aspect, cache)


def store_files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


# What pixels become


def test_colour_modes_become_rgb(tmp_path: Path) -> None:
    grey = picture(1)[..., 0]
    for mode in ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK"):
        path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
        Image.fromarray(picture(1)).convert(mode).save(path)
        pixels = decode.read_image(path)
        assert pixels.shape == (40, 40, 3) and pixels.dtype == np.uint8 and decode.mode_of(path) == mode
    path = save(tmp_path / "grey.png", grey)
    assert np.array_equal(decode.read_image(path), np.repeat(grey[..., None], 3, axis=2))


def test_transparency_is_dropped_not_blended(tmp_path: Path) -> None:
    pixels = np.dstack([picture(1), np.zeros((40, 40), np.uint8)])
    assert np.array_equal(decode.read_image(save(tmp_path / "x.png", pixels)), picture(1))


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_16_bit_grey_is_scaled_by_the_sensor_depth_of_the_training_images(
    make: Make, tmp_path: Path, extension: str
) -> None:
    root = make()
    shutil.rmtree(root / "part/train/good")
    ramp = np.linspace(0, 4095, 40 * 40).reshape(40, 40).astype(np.uint16)  # a 12-bit camera
    for i in range(3):
        save(root / f"part/train/good/{i}.{extension}", ramp + 0 * np.uint16(i))
    save(root / f"part/test/hole/000.{extension}", np.minimum(ramp * np.uint16(4), 65535))
    if extension != "png":
        (root / "part/test/hole/000.png").unlink()
    store = open_store(root, tmp_path / "cache", size=40)
    rows = {s.name: i for i, s in enumerate(Folder(root).samples("part"))}
    expected = np.rint(ramp * (255 / 4095)).astype(np.uint8)
    assert np.array_equal(store.arrays[0][..., 0], expected)
    bright = store.arrays[rows[f"test/hole/000.{extension}"]][..., 0]
    assert bright.max() == 255 and bright[5, 5] == np.rint(min(int(ramp[5, 5]) * 4, 4095) * 255 / 4095)
    assert decode.mode_of(root / f"part/train/good/0.{extension}").startswith("I")


def test_full_16_bit_range_and_eight_bits_in_sixteen(tmp_path: Path) -> None:
    full = save(tmp_path / "full.png", np.array([[0, 65535], [32768, 257]], np.uint16))
    assert decode.sensor_bits([full]) == 16
    assert decode.read_image(full)[..., 0].tolist() == [[0, 255], [128, 1]]
    low = save(tmp_path / "low.png", np.array([[0, 255]], np.uint16))
    assert decode.sensor_bits([low]) == 8
    assert decode.read_image(low, decode.Depth(8))[..., 0].tolist() == [[0, 255]]
    assert decode.sensor_bits([save(tmp_path / "plain.png", picture(1))]) == 16


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(picture(1, 20, 40)).save(tmp_path / "x.png", exif=exif)
    pixels = decode.read_image(tmp_path / "x.png")
    assert np.array_equal(pixels, np.rot90(picture(1, 20, 40), -1))


@pytest.mark.parametrize("extension", ["png", "jpg", "tif", "bmp"])
def test_the_size_in_the_header_is_that_of_the_pixels(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(picture(1, 20, 40)).save(path, **({} if extension == "bmp" else {"exif": exif}))
        assert decode.size_of(path) == decode.read_image(path).shape[:2]


def test_the_size_is_read_without_decoding(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", picture(1, 200, 300))
    path.write_bytes(path.read_bytes()[:2000])
    assert decode.size_of(path) == (200, 300)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ValueError, match=r"x\.png cannot be read as an image"):
        decode.size_of(path)


def test_statistics_are_those_of_the_original() -> None:
    pixels = picture(3, 30, 50)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    found = dict(zip(decode.STATISTICS, decode.statistics(pixels, 3000), strict=True))
    assert found["brightness"] == pytest.approx(grey.mean(), rel=1e-5)
    assert found["contrast"] == pytest.approx(grey.std(), rel=1e-5)
    assert found["bytes_per_pixel"] == 2 and (found["width"], found["height"]) == (50, 30)
    kernel = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    assert found["sharpness"] == pytest.approx(kernel.var(), rel=1e-4)


# Files that are refused, by name


def _frames(path: Path) -> None:
    films = [Image.fromarray(picture(i)) for i in range(3)]
    films[0].save(path, save_all=True, append_images=films[1:])


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(range(40))
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("x.png", lambda path: path.write_bytes(b""), "cannot be read as an image (the file is empty"),
        ("x.png", lambda path: path.write_bytes(b"no picture at all"), "no known image format"),
        ("x.png", _truncate, "cannot be read as an image"),
        ("x.jpg", _truncate, "cannot be read as an image"),
        ("x.bmp", _truncate, "cannot be read as an image"),
        ("x.tif", _truncate, "cannot be read as an image"),
        ("x.png", _corrupt, "cannot be read as an image"),
        ("x.png", _frames, "is animated"),
        ("x.tif", _frames, "is animated"),
        ("x.png", lambda path: (path.unlink(), path.mkdir()), "cannot be read as an image (Is a directory"),
        ("x.tif", lambda path: Image.new("F", (4, 4)).save(path), "floating-point"),
    ],
)
def test_a_broken_image_is_refused_by_its_path(
    tmp_path: Path, name: str, spoil: Callable[[Path], object], said: str
) -> None:
    path = save(tmp_path / name, picture(1, 200, 200))
    spoil(path)
    with pytest.raises(ValueError) as caught:
        decode.read_image(path)
    assert str(path) in str(caught.value) and said in str(caught.value) and "\n" not in str(caught.value)


def test_a_phones_photograph_with_a_preview_behind_it_is_one_image(tmp_path: Path) -> None:
    first, preview = (Image.fromarray(picture(seed)) for seed in (1, 2))
    first.save(tmp_path / "x.jpg", format="MPO", save_all=True, append_images=[preview])
    assert Image.open(tmp_path / "x.jpg").n_frames == 2
    pixels = decode.read_image(tmp_path / "x.jpg")
    assert np.abs(pixels.astype(int) - picture(1)).mean() < 6


def test_an_eps_file_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(ValueError, match="no known image format"):
        decode.read_image(tmp_path / "x.png")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("level", [1, 255])
def test_two_levels_are_a_mask(tmp_path: Path, depth: type, level: int) -> None:
    mask = np.zeros((40, 40), depth)
    mask[3:9] = level
    assert np.array_equal(decode.read_mask(save(tmp_path / "m.png", mask), 40, 40), mask > 0)


def test_a_mask_in_one_colour_or_a_palette_or_one_bit_is_a_mask(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), bool)
    mask[3:9] = True
    red = np.zeros((40, 40, 4), np.uint8)
    red[mask, 0], red[..., 3] = 255, 255
    assert np.array_equal(decode.read_mask(save(tmp_path / "red.png", red), 40, 40), mask)
    for mode in ("1", "P"):
        Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(tmp_path / "m.png")
        assert np.array_equal(decode.read_mask(tmp_path / "m.png", 40, 40), mask)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((40, 39), np.uint8), "39 x 40 pixels, its image 40 x 40"),
        (np.arange(1600, dtype=np.uint8).reshape(40, 40), "not binary: it holds 256 values"),
        (np.where(np.eye(40) > 0, 255, 128).astype(np.uint8), "not binary: it holds 2 values (128, 255)"),
    ],
)
def test_any_other_mask_is_refused(tmp_path: Path, mask: np.ndarray, said: str) -> None:
    path = save(tmp_path / "m.png", mask)
    with pytest.raises(ValueError) as caught:
        decode.read_mask(path, 40, 40)
    assert str(path) in str(caught.value) and said in str(caught.value)


# More than 8 bits


def _png16(path: Path, pixels: np.ndarray) -> None:
    """A PNG of 16-bit colour with filtered rows, which Pillow cannot write."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    left = np.pad(rows, ((0, 0), (2 * channels, 0)))[:, : rows.shape[1]]
    lines = b"".join(b"\1" + (row - before).tobytes() for row, before in zip(rows, left, strict=True))

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _tif16(**options: object) -> Callable[[Path, np.ndarray], object]:
    return lambda path, pixels: tifffile.imwrite(path, pixels, photometric="rgb", **options)


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "png": _png16,
    "png with alpha": lambda path, pixels: _png16(path, np.dstack([pixels, pixels[..., 0]])),
    "tif": _tif16(),
    "tif of Motorola": _tif16(byteorder=">"),
    "tif deflated": _tif16(compression="zlib"),
    "tif predicted": _tif16(compression="zlib", predictor=True),
    "tif in strips": _tif16(rowsperstrip=7),
    "tif in tiles": _tif16(tile=(16, 16)),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_16_bit_colour_is_read_to_the_last_bit_and_scaled_like_grey(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 50, 3)).astype(np.uint16)
    pixels[0, 0] = 4095
    path = tmp_path / f"x.{kind[:3]}"
    WRITERS[kind](path, pixels)
    assert decode.sensor_bits([path]) == 12 and decode.mode_of(path) in ("RGB;16", "RGBA;16")
    assert np.array_equal(decode.read_image(path, decode.Depth(12)), np.rint(pixels * (255 / 4095)).astype(np.uint8))


def test_16_bits_in_a_layout_that_is_not_read_are_refused(tmp_path: Path) -> None:
    pixels = np.full((8, 9, 3), 4000, np.uint16)
    tifffile.imwrite(tmp_path / "planes.tif", np.moveaxis(pixels, 2, 0), photometric="rgb", planarconfig="separate")
    _png16(tmp_path / "alpha.png", pixels[..., :2])
    for name in ("planes.tif", "alpha.png"):
        with pytest.raises(ValueError, match=f"{name} has 16 bits in a layout that is not read"):
            decode.read_image(tmp_path / name)


def test_floating_point_images_need_their_range(make: Make, tmp_path: Path) -> None:
    root = make()
    for path in (root / "part").rglob("*/*/*.png"):
        if "ground_truth" not in path.parts:
            Image.fromarray(np.asarray(Image.open(path).convert("L"), np.float32) / 255).save(path.with_suffix(".tif"))
            path.unlink()
    with pytest.raises(ValueError, match=r"000.tif holds floating-point pixels; .* data\.source\.value_range=\["):
        open_store(root, tmp_path / "cache")
    samples = Folder(root, value_range=[0, 1]).samples("part")
    assert np.array_equal(samples[0].load()[..., 0], np.asarray(Image.fromarray(picture(0)).convert("L")))
    assert Folder(root, value_range=[0, 2]).samples("part")[0].version() != samples[0].version()
    assert Folder(root, value_range=[0, 2]).samples("part")[0].load().max() <= 128
    with pytest.raises(ValueError, match="value_range"):
        Folder(root, value_range=[1, 0])
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "nan.tif")
    with pytest.raises(ValueError, match="NaN"):
        decode.read_image(tmp_path / "nan.tif", decode.Depth(value_range=(0, 1)))


def test_the_depth_is_found_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    save(root / "part/train/good/deep.png", np.full((40, 40), 1000, np.uint16))
    assert Folder(root).depth("part") == decode.Depth(10)
    monkeypatch.setattr(decode, "sensor_bits", None)
    assert Folder(root).depth("part") == decode.Depth(10)
    save(root / "part/train/good/deeper.png", np.full((40, 40), 5000, np.uint16))
    with pytest.raises(TypeError):
        Folder(root).depth("part")


def test_an_image_that_is_too_large_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "x.png", picture(1, 100, 100))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)
    with pytest.raises(ValueError, match=r"x\.png is too large to be read .*: scale it down, or cut it into several"):
        decode.size_of(path)


def test_masks_that_cover_everything_or_hide_in_alpha_are_questioned(make: Make, tmp_path: Path) -> None:
    root = make()
    truth = root / "part/ground_truth/hole"
    shape = np.asarray(Image.open(truth / "000_mask.png"))
    save(truth / "000_mask.png", np.dstack([np.full((40, 40, 3), 255, np.uint8), shape]))
    save(truth / "001_mask.png", np.dstack([np.zeros((40, 40, 3), np.uint8), shape]))
    save(truth / "002_mask.png", np.full((40, 40), 255, np.uint8))
    module = DataModule(Folder(root), size=32, cache=str(tmp_path / "cache"))
    module.setup()
    empty, wide, hidden = module.summary()["categories"]["part"]["notes"]
    assert empty.startswith("1 defective image without a masked pixel")
    assert wide.startswith("2 masks of 95% of the image or more, first that of test/hole/000.png")
    assert hidden.startswith(f"2 masks of one colour with varying transparency, first {truth / '001_mask.png'}")


# The cache


def test_cache_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("DIFFECT_CACHE")
    assert cache_root() == Path.home() / ".cache/diffect"


def test_a_store_holds_every_sample_in_order(make: Make, tmp_path: Path) -> None:
    root = make()
    store = open_store(root, tmp_path / "cache", size=40)
    samples = Folder(root).samples("part")
    assert store.arrays.shape == (16, 40, 40, 3) and store.masks.shape == (16, 40, 40)
    for row, sample in enumerate(samples):
        assert np.array_equal(store.arrays[row], np.asarray(Image.open(sample.path)))
        assert store.masks[row].any() == sample.anomalous
    assert store.has_mask.all() and len(set(store.keys.tolist())) == 16
    assert store.boxes.tolist() == [[0, 0, 40, 40]] * 16
    assert store.stats["width"].tolist() == [40] * 16
    assert not store.arrays.flags.writeable


def test_without_ground_truth_only_defects_lack_a_mask(make: Make, tmp_path: Path) -> None:
    root = make()
    shutil.rmtree(root / "part/ground_truth")
    assert open_store(root, tmp_path / "cache").has_mask.tolist() == [True] * 13 + [False] * 3


def test_a_second_opening_decodes_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    first = open_store(root, tmp_path / "cache")
    monkeypatch.setattr(decode, "read_image", None)
    second = open_store(root, tmp_path / "cache")
    assert first.key == second.key and np.array_equal(first.arrays, second.arrays)
    assert np.array_equal(first.rows, second.rows)


def test_the_key_follows_contents_canvas_and_aspect(make: Make, tmp_path: Path) -> None:
    root, cache = make(), tmp_path / "cache"
    keys = {
        open_store(root, cache).key,
        open_store(root, cache, 33).key,
        open_store(root, cache, 32, "stretch").key,
    }
    os.utime(root / "part/train/good/000.png", ns=(1, 1))
    assert open_store(root, cache).key in keys
    save(root / "part/train/good/000.png", picture(77))
    keys.add(open_store(root, cache).key)
    save(root / "part/ground_truth/hole/000_mask.png", np.eye(40, dtype=np.uint8))
    keys.add(open_store(root, cache).key)
    assert len(keys) == 5


def _other_dtype(path: Path) -> None:
    np.save(path, np.zeros(np.load(path).shape, np.float32))


def _fewer_rows(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def _pickle(path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {path.parent / 'executed'}",)

    array = np.empty(1, object)
    array[0] = Trap()
    np.save(path, array, allow_pickle=True)


@pytest.mark.parametrize("name", ["arrays.npy", "masks.npy", "rows.npy"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
        lambda path: path.write_bytes(b"PK" + path.read_bytes()),
        _other_dtype,
        _fewer_rows,
        _pickle,
    ],
)
def test_a_broken_cache_file_is_built_again_with_one_warning(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, spoil: Callable[[Path], object]
) -> None:
    root, cache = make(), tmp_path / "cache"
    sound = np.array(open_store(root, cache).arrays)
    (path,) = cache.rglob(name)
    spoil(path)
    again = open_store(root, cache)
    assert np.array_equal(again.arrays, sound)
    assert len(caplog.records) == 1 and "is broken" in caplog.text
    assert not list(cache.rglob("executed"))
    assert [p.name for p in store_files(cache)] == ["arrays.npy", "masks.npy", "rows.npy"]
    open_store(root, cache)
    assert len(caplog.records) == 1


def test_a_failed_build_leaves_nothing_behind(make: Make, tmp_path: Path) -> None:
    root, cache = make(), tmp_path / "cache"
    (root / "part/test/hole/002.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"002\.png"):
        open_store(root, cache)
    assert store_files(cache) == []


def test_concurrent_builders_do_not_meet(make: Make, tmp_path: Path) -> None:
    root, cache = make(), tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(root, cache), range(8)))
    assert all(np.array_equal(store.arrays, stores[0].arrays) for store in stores)
    assert len(store_files(cache)) == 3


def test_a_full_disk_and_a_folder_that_cannot_be_written_are_named(make: Make, tmp_path: Path) -> None:
    root = make()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(ValueError, match=r"cannot write .*data.cache or DIFFECT_CACHE"):
            open_store(root, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store_files(tmp_path / "cache") == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        open_store(root, tmp_path / "file")


def test_the_row_format_holds_no_objects() -> None:
    assert not row_dtype(2).hasobject
