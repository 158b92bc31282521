"""Folders of class folders and single pictures: files, sizes, modes, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from supernet.data import Images, load, read_picture, take
from supernet.data.resize import default_size
from supernet.errors import UserError


def message(source: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(source)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def put(path: Path, image: Image.Image | np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    picture.save(path, **options)  # type: ignore[arg-type]
    return path


def small(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 2) -> Path:
    """Fill class folders with 8x8 images, the i-th image of the c-th class all of grey level 10 * c + i."""
    for c, name in enumerate(classes):
        for i in range(count):
            put(folder / name / f"{i}.png", np.full((8, 8), 10 * c + i, dtype=np.uint8))
    return folder


def one(folder: Path, image: Image.Image | np.ndarray, name: str = "a.png", **options: object) -> np.ndarray:
    """Return the loaded `image` (C, H, W) of a set with a red image of 8x8 pixels, which makes the set RGB."""
    put(folder / "a" / name, image, **options)
    put(folder / "b" / "red.png", Image.new("RGB", (8, 8), "red"))
    return np.asarray(load(folder, 8).x[0])


# --- files


def test_classes_are_sorted_and_their_images_alternate(tmp_path: Path) -> None:
    images = load(small(tmp_path / "pets", ("dog", "ant", "cat")))
    assert (images.name, images.classes, images.mirror) == ("pets", ("ant", "cat", "dog"), True)
    assert images.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert images.x.shape == (6, 1, 8, 8)
    assert images.x[:, 0, 0, 0].tolist() == [10, 20, 0, 11, 21, 1]
    assert images.x_test is None


def test_classes_of_different_sizes_alternate(tmp_path: Path) -> None:
    small(tmp_path, ("a",), count=1)
    small(tmp_path, ("b",), count=3)
    assert load(tmp_path).y.tolist() == [0, 1, 1, 1]


def test_hidden_and_other_files_are_skipped_and_deeper_folders_read(tmp_path: Path) -> None:
    small(tmp_path)
    for name in ("cat/.hidden.png", ".git/x.png", "cat/.cache/x.png", "cat/notes.txt", "loose.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("not an image")
    (tmp_path / "cat" / "folder.png").mkdir()
    put(tmp_path / "dog" / "deep" / "er" / "x.PNG", np.full((8, 8), 99, dtype=np.uint8))
    images = load(tmp_path)
    assert images.classes == ("cat", "dog")
    assert images.x[:, 0, 0, 0].tolist() == [0, 10, 1, 11, 99]


def test_train_and_test_folders(tmp_path: Path) -> None:
    small(tmp_path / "train", ("a", "b", "c"))
    small(tmp_path / "test", ("c",), count=1)
    images = load(tmp_path)
    assert images.classes == ("a", "b", "c")
    assert images.y.tolist() == [0, 1, 2, 0, 1, 2]
    assert images.x_test is not None
    assert images.y_test is not None
    assert images.y_test.tolist() == [2]
    assert images.x_test.shape == (1, 1, 8, 8)
    assert images.given_parts is None


def test_validation_images_follow_the_training_images(tmp_path: Path) -> None:
    small(tmp_path / "train", count=2)
    small(tmp_path / "val", ("cat",), count=3)
    small(tmp_path / "test", count=1)
    images = load(tmp_path)
    assert images.y.tolist() == [0, 1, 0, 1, 0, 0, 0]
    train, validation = images.given_parts or ()
    assert (train.tolist(), validation.tolist()) == ([0, 1, 2, 3], [4, 5, 6])
    assert images.x_test is not None
    assert len(images.x_test) == 2
    assert "7 images of 2 classes (cat, dog), 8x8 grey; 3 of them given for validation; 2 test" in images.described()
    fewer = take(images, 5)
    assert (len(fewer.y), fewer.validation) == (5, 2)


def test_train_alone_has_no_test_images(tmp_path: Path) -> None:
    small(tmp_path / "train")
    assert load(tmp_path).x_test is None


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load(small(tmp_path, ("plane", "train"))).classes == ("plane", "train")


def test_colour_in_the_test_images_alone_keeps_three_channels(tmp_path: Path) -> None:
    small(tmp_path / "train")
    put(tmp_path / "test" / "cat" / "red.png", Image.new("RGB", (8, 8), "red"))
    assert load(tmp_path).x.shape == (4, 3, 8, 8)


# --- sizes


def sizes(folder: Path, *shapes: tuple[int, int], size: int | None = None) -> Images:
    for i, (height, width) in enumerate(shapes):
        put(folder / "ab"[i % 2] / f"{i}.png", noise(height, width))
    return load(folder, size)


@pytest.mark.parametrize(
    ("shapes", "side"),
    [
        (((10, 20), (12, 9), (16, 30)), 10),  # shorter sides 10, 9, 16
        (((10, 20), (12, 9), (16, 30), (14, 14)), 10),  # an even number: the lower middle
        (((300, 224), (230, 260), (8, 8)), 224),
        (((300, 225), (230, 260), (8, 8)), 224),
    ],
)
def test_the_default_size_is_the_median_shorter_side_up_to_224(
    shapes: tuple[tuple[int, int], ...], side: int, tmp_path: Path
) -> None:
    assert sizes(tmp_path, *shapes).x.shape[2:] == (side, side)


@pytest.mark.parametrize(
    ("count", "side"),
    [
        (13_286, 224),  # the last number of pictures that fit at 224: 3 bytes x 224 x 224 x 13 286 = 1.99993 GB
        (13_287, 223),
        (100_000, 81),  # 3 x 81 x 81 x 100 000 = 1.97 GB, 3 x 82 x 82 x 100 000 = 2.02 GB
        (1_281_167, 22),
    ],
)
def test_the_default_size_keeps_all_pictures_within_2_gb(count: int, side: int) -> None:
    assert default_size([400, 300], count) == side
    assert default_size([16, 400, 16], count) == 16  # never more than the pictures have


def test_training_and_test_pictures_share_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supernet.data.resize.LARGEST_SET", 3 * 10 * 10 * 6)
    small(tmp_path / "train", ("a", "b"), count=2)
    for i in range(4):
        put(tmp_path / "train" / "b" / f"large{i}.png", np.full((40, 40), i, dtype=np.uint8))
    assert load(tmp_path).x.shape == (8, 1, 8, 8)  # of 8 pictures: sqrt(10 * 10 * 6 / 8) = 8.7
    put(tmp_path / "test" / "a" / "0.png", np.full((40, 40), 9, dtype=np.uint8))
    for i in range(3):
        put(tmp_path / "test" / "a" / f"{i}.png", np.full((40, 40), 9, dtype=np.uint8))
    assert load(tmp_path).x.shape == (8, 1, 7, 7)  # of 11: 7.4
    assert load(tmp_path, 12).x.shape == (8, 1, 12, 12)  # a given size has no limit


def test_a_given_size_is_used(tmp_path: Path) -> None:
    assert sizes(tmp_path, (10, 20), (100, 40), size=48).x.shape == (2, 3, 48, 48)


def test_a_square_of_the_right_size_keeps_its_pixels(tmp_path: Path) -> None:
    image = noise(8, 8)
    np.testing.assert_array_equal(one(tmp_path, image), np.moveaxis(image, 2, 0))


@pytest.mark.parametrize(("shape", "top", "left"), [((16, 29), 0, 6), ((21, 16), 2, 0)])
def test_the_centre_square_is_averaged(shape: tuple[int, int], top: int, left: int, tmp_path: Path) -> None:
    image = noise(*shape)
    square = image[top : top + 16, left : left + 16].astype(np.float64)
    expected = np.rint(square.reshape(8, 2, 8, 2, 3).mean(axis=(1, 3)))
    np.testing.assert_array_equal(one(tmp_path, image), np.moveaxis(expected, 2, 0))


@pytest.mark.parametrize("shape", [(20, 31), (43, 18), (5, 7)])
def test_other_sides_are_resized_smoothly_about_the_centre(shape: tuple[int, int], tmp_path: Path) -> None:
    side = min(shape)
    rows, columns = np.indices(shape)  # ramps down and to the right
    image = np.stack([rows * 240 / shape[0], columns * 240 / shape[1], 0 * rows], axis=2).astype(np.uint8)
    x = one(tmp_path, image)
    for axis in (0, 1):
        centres = (shape[axis] - side) // 2 + (np.arange(8) + 0.5) * side / 8 - 0.5
        errors = np.abs(x[axis].mean(axis=1 - axis) - centres * 240 / shape[axis])
        assert errors[2:6].max() < 4
        assert errors.max() < 16  # the filter is cut at the border


def test_a_large_jpeg_is_read_accurately(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 1600).astype(np.uint8)[None, :, None], (1200, 1600, 3))
    x = one(tmp_path, np.ascontiguousarray(ramp), "a.jpg", quality=95)
    expected = ramp[0, 200:1400, 0].reshape(8, 150).mean(axis=1)
    assert np.abs(x - expected).max() < 2


def test_a_jpeg_is_decoded_well_above_its_final_size(tmp_path: Path) -> None:
    levels = noise(8, 8, 1)
    blocks = np.repeat(levels.repeat(5, axis=0).repeat(5, axis=1)[:, :, None], 3, axis=2)
    x = one(tmp_path, blocks, "a.jpg", quality=100)
    assert np.abs(x[0].astype(int) - levels).mean() < 8


# --- modes


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    image = noise(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    x = one(tmp_path, image, exif=exif)
    np.testing.assert_array_equal(x, np.moveaxis(np.rot90(image, -1), 2, 0))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_though_other_tags_are_damaged(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x0100] = orientation, 5  # and the width
    path = put(tmp_path / "whole.png", noise(8, 8), exif=exif)
    wanted = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    width, negative = b"\x00\x04\x00\x00\x00\x01\x00\x00\x00\x05", b"\x00\x09\x00\x00\x00\x01\xff\xff\xff\xff"
    x = one(tmp_path / "set", noise(8, 8), exif=exif.tobytes().replace(width, negative))
    np.testing.assert_array_equal(x, np.moveaxis(wanted, 2, 0))


def test_palette(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(8, 8)).quantize(16)
    np.testing.assert_array_equal(one(tmp_path, picture), np.moveaxis(np.asarray(picture.convert("RGB")), 2, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_shows_white(mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(noise(8, 8)).convert(mode)
    colours = np.asarray(picture.convert("RGB")).copy()
    alpha = np.full((8, 8), 255, dtype=np.uint8)
    alpha[:4] = 0
    picture.putalpha(Image.fromarray(alpha))
    colours[:4] = 255
    np.testing.assert_array_equal(one(tmp_path, picture), np.moveaxis(colours, 2, 0))


def test_a_transparent_colour_of_a_palette_shows_white(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 255, 0, 255, 0])
    picture.paste(0, (0, 0, 8, 4))
    for number, transparency in enumerate((0, b"\x00\xff")):
        x = one(tmp_path / str(number), picture, transparency=transparency)
        assert np.unique(x[:, :4]).tolist() == [255]
        assert x[:, 4:].max(axis=(1, 2)).tolist() == [0, 255, 0]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_its_upper_bits(name: str, tmp_path: Path) -> None:
    levels = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040
    x = one(tmp_path, levels, name)
    for channel in x:
        np.testing.assert_array_equal(channel, np.rint(levels / 257))


def test_32_bit_integers_within_16_bits_are_read(tmp_path: Path) -> None:
    levels = np.arange(64, dtype=np.int32).reshape(8, 8) * 1040
    np.testing.assert_array_equal(one(tmp_path, levels, "a.tif")[0], np.rint(levels / 257))


def test_cmyk_and_black_and_white(tmp_path: Path) -> None:
    cmyk = one(tmp_path / "1", Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "a.tif")
    assert cmyk.max(axis=(1, 2)).tolist() == [0, 255, 255]
    binary = one(tmp_path / "2", Image.new("1", (8, 8), 1))
    assert np.unique(binary).tolist() == [255]


def test_test_images_of_16_bits_beside_training_images_of_8_are_said(tmp_path: Path) -> None:
    small(tmp_path / "train")
    put(tmp_path / "test" / "cat" / "deep.png", Image.fromarray(np.full((8, 8), 4000, np.uint16)))
    images = load(tmp_path)
    assert (images.levels, images.x_test.unique().tolist()) == (None, [16])
    said = "1 with 16 bits beside training images of 8: values 0 to 65535 read as black to white"
    assert said in images.described()


def test_grey_images_of_any_mode_give_one_channel(tmp_path: Path) -> None:
    grey = Image.fromarray(noise(8, 8, 1))
    for i, mode in enumerate(("L", "RGB", "P", "LA", "RGBA")):
        put(tmp_path / "ab"[i % 2] / f"{mode}.png", grey.convert(mode))
    x = load(tmp_path).x
    assert x.shape == (5, 1, 8, 8)
    for image in x:
        np.testing.assert_array_equal(image[0], np.asarray(grey))


@pytest.mark.parametrize("colour", ["yellow", "magenta", "cyan"])
def test_colours_with_two_equal_channels_are_not_grey(colour: str, tmp_path: Path) -> None:
    put(tmp_path / "a" / "grey.png", noise(8, 8, 1))
    put(tmp_path / "b" / "colour.png", Image.new("RGB", (8, 8), colour))
    assert load(tmp_path).x.shape == (2, 3, 8, 8)


# --- mistakes


def test_no_class_folders(tmp_path: Path) -> None:
    put(tmp_path / "loose.png", noise(8, 8))
    expected = "has no class folders: expected one folder of images for each class"
    assert message(tmp_path) == f"'{tmp_path}' {expected}"
    put(tmp_path / "train" / "a.png", noise(8, 8))
    put(tmp_path / "test" / "a.png", noise(8, 8))
    assert message(tmp_path) == f"'{tmp_path / 'train'}' {expected}"


def test_an_empty_class_folder(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird" / "notes.txt").write_text("none yet")
    assert message(tmp_path).startswith(f"class folder '{tmp_path / 'bird'}' has no images (.avif, .bmp, .gif, .jfif")


def test_a_single_class_folder(tmp_path: Path) -> None:
    small(tmp_path, ("cat",))
    assert message(tmp_path) == f"'{tmp_path}' has only one class folder, 'cat': at least 2 are needed"


def test_a_test_folder_of_no_training_class(tmp_path: Path) -> None:
    small(tmp_path / "train")
    small(tmp_path / "test", ("cow",))
    assert message(tmp_path) == f"test folder '{tmp_path / 'test' / 'cow'}' is of no training class: cat, dog"


def test_a_file_that_is_not_an_image(tmp_path: Path) -> None:
    path = small(tmp_path) / "cat" / "x.png"
    path.write_text("not an image")
    assert message(tmp_path) == f"cannot read image '{path}': not an image"
    path.write_bytes(b"")
    assert message(tmp_path) == f"cannot read image '{path}': not an image"


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.gif", "x.bmp", "x.tif", "x.webp", "x.ppm"])
def test_an_image_that_is_cut_off(name: str, tmp_path: Path) -> None:
    path = put(small(tmp_path) / "cat" / name, noise(64, 64))
    whole = path.read_bytes()
    for length in (12, 30, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert message(tmp_path).startswith(f"cannot read image '{path}': ")


def test_floating_point_and_32_bit_images(tmp_path: Path) -> None:
    path = put(small(tmp_path) / "cat" / "x.tif", np.ones((8, 8), dtype=np.float32))
    assert message(tmp_path) == f"cannot read image '{path}': it has floating-point pixels; save it with 8 or 16 bits"
    for value in (70000, -1):  # pillow reads signed 16-bit pixels as 32-bit ones, too
        put(path, np.full((8, 8), value, dtype=np.int32))
        reason = "it has values outside 0 to 65535; save it with 8 or 16 bits"
        assert message(tmp_path) == f"cannot read image '{path}': {reason}"


# --- one picture


def varied(folder: Path) -> Path:
    """Fill two class folders with pictures of different sizes, modes and formats, each read in its own way."""
    exif = Image.Exif()
    exif[0x0112] = 6
    put(folder / "a" / "0.jpg", noise(300, 400, seed=1), quality=90)  # decoded at a fraction
    put(folder / "a" / "1.png", noise(24, 48, seed=2))  # averaged down
    put(folder / "a" / "2.jpg", noise(30, 41, seed=3), exif=exif)  # turned
    put(folder / "b" / "0.png", Image.fromarray(noise(19, 23, seed=4)).convert("RGBA"))
    put(folder / "b" / "1.png", np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)
    put(folder / "b" / "2.gif", Image.fromarray(noise(8, 5, seed=5)).quantize(16))  # enlarged
    return folder


@pytest.mark.parametrize("size", [None, 8, 12, 33])
def test_a_picture_is_read_as_in_a_training_folder(size: int | None, tmp_path: Path) -> None:
    images = load(varied(tmp_path), size)
    side = images.x.shape[2]
    names = ["a/0.jpg", "b/0.png", "a/1.png", "b/1.png", "a/2.jpg", "b/2.gif"]
    for name, x in zip(names, images.x.split(1), strict=True):
        assert torch.equal(read_picture(tmp_path / name, 3, side, side), x)


@pytest.mark.parametrize("size", [None, 7])
def test_a_grey_picture_is_read_as_in_a_grey_folder(size: int | None, tmp_path: Path) -> None:
    put(tmp_path / "a" / "0.png", noise(21, 30, 1, seed=1))
    put(tmp_path / "b" / "0.jpg", noise(90, 70, 1, seed=2))
    put(tmp_path / "b" / "1.png", Image.fromarray(noise(14, 14, 1, seed=3)).convert("RGB"))
    images = load(tmp_path, size)
    assert images.x.shape[1] == 1
    side = images.x.shape[2]
    for name, x in zip(["a/0.png", "b/0.jpg", "b/1.png"], images.x.split(1), strict=True):
        assert torch.equal(read_picture(str(tmp_path / name), 1, side, side), x)


def test_a_coloured_picture_is_made_grey_as_pillow_does(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(40, 40))
    x = read_picture(put(tmp_path / "a.png", picture), 1, 40, 40)
    assert (x.shape, x.dtype) == ((1, 1, 40, 40), torch.uint8)
    np.testing.assert_array_equal(x[0, 0].numpy(), np.asarray(picture.convert("L")))


def test_the_whole_picture_is_averaged_to_a_rectangle(tmp_path: Path) -> None:
    image = noise(12, 20)
    x = read_picture(put(tmp_path / "a.png", image), 3, 4, 10)
    expected = np.rint(image.astype(np.float64).reshape(4, 3, 10, 2, 3).mean(axis=(1, 3)))
    np.testing.assert_array_equal(x[0].numpy(), np.moveaxis(expected, 2, 0))
    same = read_picture(tmp_path / "a.png", 3, 12, 20)
    np.testing.assert_array_equal(same[0].numpy(), np.moveaxis(image, 2, 0))


@pytest.mark.parametrize(("height", "width"), [(5, 10), (6, 7), (30, 25)])  # one side is divisible, none is, enlarged
def test_the_whole_picture_is_resized_to_a_rectangle(height: int, width: int, tmp_path: Path) -> None:
    picture = Image.fromarray(noise(12, 20))
    x = read_picture(put(tmp_path / "a.png", picture), 3, height, width)
    expected = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(x[0].numpy(), np.moveaxis(expected, 2, 0))


def test_a_large_rotated_jpeg_is_decoded_well_above_its_final_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.broadcast_to(np.linspace(0, 255, 1600).astype(np.uint8)[:, None, None], (1600, 200, 3))
    turned = np.rot90(ramp)  # as stored in the file
    x = read_picture(put(tmp_path / "a.jpg", np.ascontiguousarray(turned), quality=95, exif=exif), 3, 100, 10)
    expected = ramp[:, 0, 0].reshape(100, 16).mean(axis=1)
    assert np.abs(x[0].numpy() - expected[:, None]).max() < 3


def test_pictures_with_warnings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # above this, pillow warns of a decompression bomb
    assert read_picture(put(tmp_path / "a.png", noise(12, 12)), 3, 12, 12).shape == (1, 3, 12, 12)


def picture_message(path: Path, channels: int = 3, height: int = 8, width: int = 8) -> str:
    with pytest.raises(UserError) as caught:
        read_picture(path, channels, height, width)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_mistakes_with_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    assert picture_message(path) == f"cannot read image '{path}': No such file or directory"
    assert picture_message(tmp_path) == f"cannot read image '{tmp_path}': Is a directory"
    path.write_text("not an image")
    assert picture_message(path) == f"cannot read image '{path}': not an image"
    whole = put(path, noise(64, 64)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert picture_message(path).startswith(f"cannot read image '{path}': ")
    put(path, noise(8, 8))
    for channels in (0, 2, 4):
        assert picture_message(path, channels) == f"a picture is read with 1 channel (grey) or 3 (RGB), not {channels}"
    assert picture_message(path, 3, 0, 8) == "a picture has at least 1 pixel a side, not 0x8"
    assert picture_message(path, 1, 4, -1) == "a picture has at least 1 pixel a side, not 4x-1"
