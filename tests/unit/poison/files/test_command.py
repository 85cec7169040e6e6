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


def test_a_file_must_be_named(bench):
    outcome = bench("poison")
    assert outcome.code == 2
    assert "CONFIG" in outcome.err
