"""``backbench data`` as it is typed."""

import subprocess
import sys
import textwrap

import pytest

from backbench.data.classes import class_list, fingerprint

IDS = sorted(class_list("imagenet100"))


@pytest.fixture
def imagenet(tmp_path):
    """The classes of ImageNet-100 and two more; nothing in it is an image."""
    for split, count in (("train", 4), ("val", 1)):
        for wnid in [*IDS, "n00000001", "n99999999"]:
            folder = tmp_path / "imagenet" / split / wnid
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{wnid}_{i}.JPEG").write_bytes(b"0123456789")
    return tmp_path / "imagenet"


@pytest.mark.parametrize("how", [(), ("--link",)])
def test_imagenet100_then_its_fingerprint(bench, imagenet, how):
    command = ("data", "imagenet100", "--imagenet", "imagenet", "--out", "in100", *how)
    done = bench(*command).assert_ok()
    assert done.out.startswith("in100: 100 classes, 400 training and 100 validation images, ")
    assert f"fingerprint {fingerprint(IDS)[:16]} (imagenet100)" in done.out
    assert done.out.count("\n") == 1
    assert "the published imagenet100 has 126,689 training and 5,000 validation" in done.err
    again = bench(*command).assert_ok()
    assert "0 images copied" in again.out
    shown = bench("data", "fingerprint", "in100").assert_ok().out
    assert f"fingerprint  {fingerprint(IDS)}\n" in shown
    assert "variant      imagenet100: Tian et al. 2020" in shown
    assert "train        400 images, 4 a class\n" in shown
    assert "val          100 images, 1 a class\n" in shown


def test_own_classes_and_unknown_lists(bench, imagenet, tmp_path):
    (tmp_path / "two.txt").write_text("n99999999\nn00000001\n")
    made = bench(
        "data", "imagenet100", "--imagenet", "imagenet", "--out", "o", "--classes", "two.txt"
    )
    assert "2 classes, 8 training" in made.assert_ok().out
    assert "(not a known ImageNet-100 variant)" in made.out
    wrong = bench("data", "imagenet100", "--imagenet", "imagenet", "--out", "p", "--classes", "100")
    assert (wrong.code, "100: no such file" in wrong.err) == (2, True)
    assert not (tmp_path / "p").exists()


def test_missing_classes_end_in_exit_code_2(bench, imagenet, tmp_path):
    (imagenet / "val" / IDS[5]).rename(imagenet / "val" / "elsewhere")
    ended = bench("data", "imagenet100", "--imagenet", "imagenet", "--out", "in100")
    assert ended.code == 2
    assert f"val: there is no folder for 1 of the 100 classes: {IDS[5]}" in ended.err
    assert not (tmp_path / "in100").exists()


def test_file_lists_are_the_same_everywhere(bench, imagenet, tmp_path):
    """Golden: the lists recomputed with hashlib alone; no machine and no root may change them."""
    bench("data", "imagenet100", "--imagenet", "imagenet", "--out", "in100").assert_ok()
    options = ("--fraction", "0.5", "--fraction", "1%", "--classes", "imagenet100")
    one = bench("data", "filelist", "--root", "imagenet", "--out", "a", *options).assert_ok()
    two = bench("data", "filelist", "--root", "in100", "--out", "b", *options[:-2]).assert_ok()
    assert one.out.replace("a/", "b/") == two.out
    assert one.out.splitlines() == [
        "a/train_ssl_0.5_filelist.txt: 200 images, 100 classes, sha256 170db37856a96682",
        "a/train_ssl_0.01_filelist.txt: 100 images, 100 classes, sha256 b88e29c1e7f70f88",
        "a/val_ssl_filelist.txt: 100 images, 100 classes, sha256 c2f2c64ece5527fb",
    ]
    shown = bench("data", "fingerprint", "a/train_ssl_0.01_filelist.txt").assert_ok().out
    assert "variant      imagenet100: " in shown
    assert "images       100 images, 1 a class" in shown


@pytest.mark.parametrize("fraction", ["0", "1.5", "200%", "ten", "nan", "-0.1", "1e9999999%"])
def test_fractions_are_parts_of_a_whole(bench, fraction):
    ended = bench("data", "filelist", "--root", "x", "--out", "y", f"--fraction={fraction}")
    assert (ended.code, "is not a fraction" in ended.err) == (2, True)


@pytest.mark.parametrize("fraction", ["1e-400", f"0.{'1' * 300}", "1e-999999"])
def test_a_fraction_that_the_name_of_a_list_cannot_hold_is_refused(bench, fraction):
    ended = bench("data", "filelist", "--root", "x", "--out", "y", f"--fraction={fraction}")
    assert (ended.code, "has more than 20 decimals" in ended.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "reason"), [("", "should have at least 1 character"), ("train", "is the training")]
)
def test_a_name_that_no_validation_folder_can_have_is_one_sentence(bench, name, reason):
    ended = bench("data", "filelist", "--root", "x", "--out", "y", "--val", name)
    assert (ended.code, "--val: " in ended.err, reason in ended.err) == (2, True, True)


def test_splits_of_any_name(bench, imagenet):
    (imagenet / "val").rename(imagenet / "test")
    listed = bench("data", "filelist", "--root", "imagenet", "--out", "lists", "--val", "test")
    assert "val_ssl_filelist.txt: 102 images, 102 classes" in listed.assert_ok().out


def test_data_commands_never_import_torch(imagenet, tmp_path):
    script = """
        import sys
        from backbench.cli.root import cli
        for line in ("imagenet100 --imagenet imagenet --out in100 --link",
                     "filelist --root in100 --out lists", "fingerprint in100"):
            cli.main(["data", *line.split()], standalone_mode=False)
        assert "torch" not in sys.modules
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=60)
