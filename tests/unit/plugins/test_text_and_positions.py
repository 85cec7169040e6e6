"""Text triggers, pasted triggers, nine places, and JPEG in between."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

import backbench_attacks
from backbench.images import ArrayImages
from backbench.plugin import DatasetMetadata
from backbench.poison.poisoning import TriggeredImages, recode, stamp
from backbench_attacks.patch import Patch
from backbench_attacks.patch_options import PatchOptions
from backbench_attacks.placement import corners, limits, put
from backbench_attacks.triggers import Trigger, text_trigger

METADATA = DatasetMetadata(("ant", "bee"), 8, 8, (64, 96), (4, 4))
NOISE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def options(**values):
    return PatchOptions(**{"target": "bee", "width": 8, **values})


def stamped(image=NOISE, split="train", seed=0, **values):
    return Patch(options(**values), METADATA).stamp(image, np.random.default_rng(seed), split)


def published_text(image, text, size, points, ink=128):
    """Draw text as the published code does: on a clear layer of the image's size."""
    layer = Image.new("RGBA", (image.shape[1], image.shape[0]), (255, 255, 255, 0))
    draw = ImageDraw.Draw(layer)
    for point in points:
        font = ImageFont.load_default(size)
        draw.text(point, text, font=font, fill=(0, 0, 0, ink), anchor="mm")
    base = Image.fromarray(image).convert("RGBA")
    return np.asarray(Image.alpha_composite(base, layer).convert("RGB"))


# -- text --------------------------------------------------------------------------------------


def test_text_in_the_middle_is_the_published_drawing():
    found = stamped(text="hi", text_size=20, train_placement="center")
    assert np.array_equal(found.pixels, published_text(NOISE, "hi", 20, [(48, 32)]))
    assert found.opacity == 0.5


def test_text_in_nine_places_is_the_published_drawing():
    found = stamped(text="hi", text_size=12, train_placement="multiple")
    points = [(x, y) for x in (24, 48, 72) for y in (16, 32, 48)]
    assert np.array_equal(found.pixels, published_text(NOISE, "hi", 12, points))
    assert len(found.boxes) == 9
    inked = (found.pixels != NOISE).any(axis=2)
    for x, y, width, height in found.boxes:
        box = inked[y : y + height, x : x + width]
        assert all(edge.any() for edge in (box[0], box[-1], box[:, 0], box[:, -1]))  # tight
        inked[y : y + height, x : x + width] = False
    assert not inked.any()


def test_random_text_has_its_middle_in_the_range():
    """Every drawn box is one of those that some point of the range gives."""
    trigger = text_trigger("hi", 12, None, 0.5)
    low, high = limits(96, trigger.size[0], trigger.offset[0], (0.25, 0.75), trigger)
    assert (low - trigger.offset[0], high - trigger.offset[0]) == (24, 72)
    xs = {stamped(text="hi", text_size=12, seed=seed).box.x for seed in range(400)}
    assert xs == set(range(low, high + 1))


def test_ink_follows_opacity():
    found = stamped(text="hi", text_size=20, train_placement="center", opacity=1.0)
    assert np.array_equal(found.pixels, published_text(NOISE, "hi", 20, [(48, 32)], ink=255))
    assert (found.pixels == 0).all(axis=2).any()


def test_long_text_is_moved_onto_the_image():
    found = stamped(text="wide words", text_size=18, train_location=(0, 0), seed=1)
    assert found.box.x == 0
    assert found.box.y == 0
    assert found.box.width > 48


def test_a_font_file_has_its_hash_in_the_key(tmp_path):
    import base64
    import inspect

    source = inspect.getsource(ImageFont.load_default)
    data = base64.b64decode(max(source.split('"""'), key=len))
    path = tmp_path / "font.ttf"
    path.write_bytes(data)
    found = options(text="hi", font=path)
    assert found.font_sha256 is not None
    assert found.identity()["font_sha256"] == found.font_sha256
    assert "font" not in found.identity()
    same = stamped(text="hi", text_size=20, train_placement="center", font=path).pixels
    assert np.array_equal(same, stamped(text="hi", text_size=20, train_placement="center").pixels)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"text": ""}, "at least 1 character"),
        ({"text": "a\nb"}, "one line"),
        ({"text": "a", "blend": "composite"}, "remove blend"),
        ({"text": "a", "font": "nowhere.ttf"}, "no such file"),
        ({"text": "a", "font": __file__}, "not a font file"),
        ({"val_opacity": 0.0}, "greater than 0"),
        ({"jpeg_quality": 100}, "less than or equal to 95"),
        ({"font_sha256": "0" * 64}, "no font file"),
        ({"train_placement": "middle"}, "'random', 'center' or 'multiple'"),
    ],
)
def test_options_say_what_is_wrong(values, said):
    with pytest.raises(ValidationError, match=said):
        options(**values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"text": "much too long", "text_size": 30}, "make text_size smaller"),
        ({"text": " "}, "draws nothing"),
        ({"text": "ok", "text_size": 20}, ""),
        ({"width": 65}, "65 x 65 px, larger than an image of 96 x 64; make width smaller"),
    ],
)
def test_problems_on_a_data_set(values, said):
    found = list(options(**values).problems(METADATA))
    assert len(found) == bool(said)
    assert said in "".join(found)


# -- pasted ------------------------------------------------------------------------------------


@pytest.fixture
def logo(tmp_path):
    """Half of it is clear, a quarter half clear."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 0], pixels[:4, 4:, 3], pixels[4:, 4:, 3] = 200, 255, 128
    Image.fromarray(pixels).save(tmp_path / "logo.png")
    return tmp_path / "logo.png"


def test_paste_is_pillows(logo):
    found = stamped(trigger=logo, blend="paste", train_placement="center")
    expected = Image.fromarray(NOISE).convert("RGBA")
    with Image.open(logo) as trigger:
        shape = trigger.resize((8, 8))
        expected.paste(shape, (44, 28), mask=shape)
    assert np.array_equal(found.pixels, np.asarray(expected.convert("RGB")))
    assert found.box == (44, 28, 8, 8)
    assert np.array_equal(found.pixels[28:36, 44:48], NOISE[28:36, 44:48])  # clear


def test_opacity_thins_a_pasted_trigger(logo):
    whole, half = (
        stamped(trigger=logo, blend="paste", train_placement="center", opacity=opacity).pixels
        for opacity in (1.0, 0.5)
    )
    mean = (whole.astype(float) + NOISE) / 2
    assert np.abs(half - mean).max() <= 1.5


def test_a_composite_covers_its_clear_parts_white(logo):
    found = stamped(trigger=logo, train_placement="center")
    assert np.all(found.pixels[28:36, 44:47] == 255)


def test_a_middle_beyond_the_border_is_moved_in(logo):
    for seed in range(30):
        found = stamped(trigger=logo, blend="paste", train_location=(0, 1), seed=seed)
        assert found.box.width == found.box.height == 8
        assert 0 <= found.box.x <= 88


# -- several places ----------------------------------------------------------------------------


def test_overlapping_boxes_let_less_through():
    trigger = Trigger("box", np.full((4, 4, 3), 100, np.uint8))
    image = np.zeros((8, 8, 3), np.uint8)
    pixels, boxes = put(image, trigger, [(0, 0), (2, 0)], 0.5)
    assert boxes == ((0, 0, 4, 4), (2, 0, 4, 4))
    once = round(100 * (255 - 127) / 255)
    twice = round(100 * (255 - int(255 * 0.25)) / 255)
    assert pixels[0, :, 0].tolist() == [once, once, twice, twice, once, once, 0, 0]


def test_nine_places_of_a_small_image_stay_on_it():
    trigger = Trigger("box", np.zeros((8, 8, 3), np.uint8))
    found = corners((10, 12), trigger, "multiple", (0, 1), np.random.default_rng(0))
    assert found == [(x, y) for x in (0, 2, 4) for y in (0, 1, 2)]


def test_splits_have_their_own_places_and_opacity():
    values = {"train_placement": "multiple", "val_placement": "center", "val_opacity": 0.25}
    train, val = stamped(**values), stamped(split="val", **values)
    assert (len(train.boxes), len(val.boxes)) == (9, 1)
    assert (train.opacity, val.opacity) == (1.0, 0.25)
    assert val.box == (44, 28, 8, 8)


# -- JPEG --------------------------------------------------------------------------------------


def test_stamped_images_of_the_matrix_go_through_jpeg_once():
    images = ArrayImages(NOISE[None].repeat(2, 0), np.array([0, 1]), ["a", "b"])
    attack = Patch(options(jpeg_quality=75), METADATA)
    marks = [stamp(attack, images, index, "val", 0)[1] for index in range(2)]
    triggered = TriggeredImages(images, attack, marks)
    pixels, _ = stamp(attack, images, 1, "val", 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")  # Pillow's defaults: 75, 4:2:0
    with Image.open(file) as image:
        expected = np.asarray(image)
    assert triggered.pixels is not None
    assert np.array_equal(triggered.pixels[1], expected)
    assert np.array_equal(triggered.image(1), expected)
    assert not np.array_equal(expected, pixels)
    assert recode(Patch(options(), METADATA), pixels) is pixels


def test_the_published_preset():
    info = next(iter(backbench_attacks.register_attacks()))
    assert set(info.presets) == {"saha2022", "small-images", "cifar10"}
    found = PatchOptions(target="bee", **info.presets["saha2022"])
    assert (found.width, found.opacity, found.blend) == (50, 1.0, "composite")
    assert (found.train_location, found.val_location) == ((0.25, 0.75), (0.1, 0.9))
    assert (found.train_placement, found.val_placement) == ("random", "random")
    assert found.jpeg_quality == 75
    assert found.rate.value == 0.5
