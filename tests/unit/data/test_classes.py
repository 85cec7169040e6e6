"""Lists of classes and the variants of ImageNet-100 that they are known as."""

import hashlib

import pytest

from backbench.data.classes import (
    NAMES,
    VARIANTS,
    class_list,
    describe,
    find_classes,
    fingerprint,
    read_class_file,
)
from backbench.errors import DataError


def test_imagenet100_is_the_published_list():
    """Metadata of the published list: size, first line, ends of the sorted list, the five targets."""
    published = class_list("imagenet100")
    ranks = sorted(published)
    assert len(set(published)) == len(published) == 100
    assert published[0] == "n02869837"
    assert (ranks[0], ranks[99]) == ("n01558993", "n13040303")
    targets = {
        "n02106550": (34, 26),
        "n02701002": (48, 44),
        "n03642806": (92, 64),
        "n03947888": (52, 75),
        "n04517823": (6, 90),
    }
    for wnid, (line, label) in targets.items():
        assert (published.index(wnid), ranks.index(wnid)) == (line, label)


def test_fingerprint_is_of_the_sorted_set():
    text = b"n01\nn02\nn03"
    assert fingerprint(["n03", "n01", "n02"]) == hashlib.sha256(text).hexdigest()
    assert fingerprint(["n01", "n02", "n03", "n01"]) == fingerprint(["n02", "n03", "n01"])
    assert fingerprint(["n01", "n02"]) != fingerprint(["n01", "n03"])


@pytest.mark.parametrize("name", NAMES)
def test_shipped_lists_are_known_by_their_names(name):
    known = VARIANTS[fingerprint(class_list(name))]
    assert known.name == name
    assert describe(class_list(name)) == f"{name}: {known.source}"


def test_variants_have_names_of_their_own():
    assert len({variant.name for variant in VARIANTS.values()}) == len(VARIANTS)


def test_near_misses_are_told_apart():
    whole = sorted(class_list("imagenet100"))
    text = describe([*whole[3:], "n00000001"])
    assert "nearest is imagenet100" in text
    assert f"lacks 3 of its 100 classes ({', '.join(whole[:3])})" in text
    assert "has 1 others (n00000001)" in text
    assert "lacks" not in describe([*whole, "n00000001"])
    assert "lacks 93 of its 100 classes" in describe(whole[:7])
    assert describe(["cat", "dog"]).endswith("shares no class with imagenet100")


def test_files_and_names(tmp_path):
    file = tmp_path / "some.txt"
    file.write_bytes(b"\xef\xbb\xbfbig cat\r\n\r\n dog \r\n")
    assert read_class_file(file) == find_classes(str(file)) == ("big cat", "dog")
    assert find_classes("imagenet100") == class_list("imagenet100")
    with pytest.raises(DataError, match=r"^imagnet100: no such file.*backbench: imagenet100"):
        find_classes("imagnet100")
    with pytest.raises(DataError, match="no class list is called 'imagenet'"):
        class_list("imagenet")
    file.write_text("cat\ndog\ncat\n")
    with pytest.raises(DataError, match="duplicate class names: cat"):
        find_classes(str(file))
