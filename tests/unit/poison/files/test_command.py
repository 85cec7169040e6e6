"""The command: its help, and what it does not import."""

from tests.factories import run_light


def test_poisoning_needs_no_torch(pets):
    assert "look at" in run_light("poison", "pets.toml", "--out", "out", cwd=pets.parent)


def test_a_file_must_be_named(bench):
    outcome = bench("poison")
    assert outcome.code == 2
    assert "CONFIG" in outcome.err
