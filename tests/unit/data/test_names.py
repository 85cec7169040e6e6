"""Names that no terminal should show and no file can bear are refused before anything runs."""

import os

import pytest

from backbench.data.class_counts import look_at
from backbench.errors import DataError, UsageError, is_name
from backbench.store.store import Store

TOML = """
[datasets.birds]
plugin = "image-folder"
root = "birds"
resize = 32
{more}
[[matrix]]
datasets = "birds"
methods = "moco-v2"
evaluators = "nearest"

[evaluators.nearest]
plugin = "knn"
k = 1

[methods.moco-v2]
batch_size = 4
"""


@pytest.fixture
def check(make_folder, tmp_path, bench):
    root = make_folder(root="birds", train={"a": 6, "b": 6}, val={"a": 6, "b": 6})

    def run(name=None, more=""):
        for split in ("train", "val") if name is not None else ():
            (root / split / "b").rename(root / split / os.fsdecode(name))
        (tmp_path / "b.toml").write_text(TOML.format(more=more), encoding="utf-8")
        return bench("check", str(tmp_path / "b.toml"))

    return run


@pytest.mark.parametrize("name", [b"wr\xe9n", b"x\x1b]0;T\x07", b"line\nbreak"])
def test_a_class_folder_that_is_no_text_is_refused_by_check(check, name, tmp_path):
    done = check(name)
    assert done.code == 2
    assert "rename the class" in done.err
    assert "not printable UTF-8" in done.err
    assert "\x1b" not in done.err
    with pytest.raises(DataError, match="Rename these folders"):
        look_at(str(tmp_path / "birds"))


@pytest.mark.parametrize("name", ["cafe\u0301", "caf\u00e9 "])
def test_classes_that_look_the_same_are_refused(check, name, tmp_path):
    for split in ("train", "val"):
        (tmp_path / "birds" / split / "a").rename(tmp_path / "birds" / split / "caf\u00e9")
    done = check(name.encode())
    assert done.code == 2
    assert f"the classes {name!a} and 'caf\\xe9' look the same" in done.err.replace(
        f"'caf\\xe9' and {name!a}", f"{name!a} and 'caf\\xe9'"
    )
    assert "put their images into one class" in done.err


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ('[evaluators."k\\u001b[31m"]\nplugin = "knn"', "evaluators"),
        ('[profiles."\\u0007"]', "profiles"),
        ('[benchmark]\nname = "\\u001b]0;T"', "benchmark.name"),
        (f'[benchmark]\nname = "{10**6 * "a"}"', "benchmark.name"),
    ],
)
def test_a_name_in_a_benchmark_that_a_terminal_obeys_is_refused(check, table, where):
    done = check(more=table)
    assert done.code == 2
    assert f"{where}: " in done.err
    assert "not printable UTF-8" in done.err
    assert "\x1b" not in done.err


def test_check_prints_images_of_each_class(check):
    done = check().assert_ok()
    assert "dataset birds: 2 classes\n  train: 12 images (6 a class)\n  val: 12" in done.out


def test_a_table_with_a_bracket_in_its_name_is_an_unknown_key(check):
    done = check(more='["a[b"]\nx = 1')
    assert done.code == 2
    assert "a[b: unknown key (there are: " in done.err


def test_steps_to_other_folders_are_no_names():
    assert [is_name(name) for name in ("..", ".", "", "é b", "a..")] == [False] * 3 + [True] * 2


def test_a_store_whose_path_is_not_text_is_refused_at_the_start(tmp_path):
    folder = tmp_path / os.fsdecode(b"st\xe9re")
    with pytest.raises(UsageError, match=r"st\\udce9re: its path is not UTF-8"):
        Store(folder).prepare()
    assert list(tmp_path.iterdir()) == []
