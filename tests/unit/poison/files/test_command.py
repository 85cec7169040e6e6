"""The command: its help, and what it does not import."""

import subprocess
import sys

PROBE = """
import sys
sys.argv = ["backbench", *{arguments!r}]
from backbench.cli.main import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {{"torch", "torchvision", "timm", "faiss", "sklearn", "matplotlib"}} & sys.modules.keys()
assert not heavy, heavy
"""


def probe(*arguments, cwd):
    code = PROBE.format(arguments=arguments)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_poisoning_needs_no_torch(pets):
    assert "look at" in probe("poison", "pets.toml", "--out", "out", cwd=pets.parent)


def test_help_names_convert(tmp_path, bench):
    text = bench("poison", "--help").assert_ok().out
    assert "convert IN OUT" in text
    assert "CONFIG" in text
    assert "IN OUT" in bench("poison", "convert", "--help").assert_ok().out
    assert "poison convert" in bench("poison", "convert", "--help").out


def test_a_file_must_be_named(bench):
    outcome = bench("poison")
    assert outcome.code == 2
    assert "CONFIG" in outcome.err


def test_a_file_may_be_called_convert(pets, bench):
    pets.rename(pets.with_name("convert"))
    bench("poison", "./convert", "--out", "out").assert_ok()
