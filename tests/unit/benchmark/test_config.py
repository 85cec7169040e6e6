"""A benchmark file's problems come all at once, each with its place and the nearest right name."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from tests.conftest import tiny
from tests.factories import pets

from backbench.benchmark.config import load_benchmark
from backbench.errors import ConfigError, UsageError
from backbench.plugin.registry import Registry


def problems(path: Path, registry: Registry, text: str, profile: str | None = None) -> list[str]:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_benchmark(path, registry, profile)
    assert caught.value.exit_code == 2
    return [str(problem) for problem in caught.value.problems]


def test_a_right_file_gives_every_cell_once(tiny_file: Path, registry: Registry) -> None:
    benchmark = load_benchmark(tiny_file, registry)
    assert len(benchmark.cells) == 2 * 2 * 2 * 2
    assert len(set(benchmark.cells)) == len(benchmark.cells)


def test_all_problems_come_at_once(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace("width = 10", 'widht = 10\nopacity = "much"')
    text = text.replace("epochs = 2\nbatch_size = 32\nqueue", "epochs = -1\nbatch_size = 32\nqueue")
    text = text.replace('methods = ["moco-v2", "rotnet"]', 'methods = ["moco-v2", "rotnot"]')
    text = text.replace('datasets = ["drawn"]', 'datasets = ["drawn"]\natacks = ["none"]')
    found = problems(tmp_path / "b.toml", registry, text)
    assert len(found) == 4  # the names in the matrix are looked up once its shape is right
    joined = "\n".join(found)
    assert "matrix.0.atacks: unknown key: did you mean 'attacks'?" in joined
    assert "attacks.targeted.widht: unknown key: did you mean 'width'?" in joined
    assert "attacks.targeted.opacity" in joined
    assert "methods.moco-v2.epochs" in joined
    assert "(given: -1)" in joined

    found = problems(tmp_path / "b.toml", registry, text.replace('atacks = ["none"]', ""))
    expected = "matrix.0.methods: no ssl-method is called 'rotnot': did you mean 'rotnet'?"
    assert len(found) == 4
    assert expected in found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('plugin = "patch"', 'plugin = "pach"', "attacks.targeted.plugin: no attack is called"),
        ('plugin = "patch"', "plugin = 3", "attacks.targeted.plugin: should be the name"),
        ("[attacks.targeted]", "[attacks.none]", "attacks.none: 'none' is reserved"),
        ('preset = "small"', 'preset = "smal"', "has no preset 'smal' (there are:"),
        ('preset = "small"', 'preset = ["small"]', "has no preset ['small'] (there are:"),
        ("width = 10", 'width = "10"', "attacks.targeted.width: should be a whole number"),
        ("width = 10", "width = true", "attacks.targeted.width: should be a whole number"),
        ("queue = 64", "queue = 64.0", "methods.moco-v2.queue: should be a whole number"),
        ("value = 1.0", 'value = "1"', "attacks.targeted.rate.value: should be a number"),
        ("queue = 64", "queue = 64\nviews = { scale = [0.5, true] }", "views.scale.1: should be"),
        ("width = 10", "trigger = -1", "attacks.targeted.trigger: should be greater than"),
        ("width = 10", "trigger = -1", "attacks.targeted.trigger: should be a path (given: -1)"),
        ("seeds = [0]", "seeds = [-1]", "benchmark.seeds.0"),
        ("seeds = [0]", "seeds = []", "benchmark.seeds"),
        ("seeds = [0]", "stage_timeout_s = 0", "benchmark.stage_timeout_s"),
        ("seeds = [0]", "stage_timeout_s = inf", "benchmark.stage_timeout_s"),
        ("seeds = [0]", "stage_timeout = 60", "benchmark.stage_timeout"),
        ("seeds = [0]", 'stage_memory_gib = "4"', "benchmark.stage_memory_gib"),
        ("[[matrix]]", "[matrx]", "matrix: is missing"),
        ('target = "', 'target = "x', "on dataset 'drawn': target: there is no class"),
        ("width = 10", "width = 40", "on dataset 'drawn': width: the trigger is 40 x 40 px"),
        ("queue = 64", "queue = 63", "queue = 63 is not a multiple of batch_size = 32"),
        ("queue = 64", "queue = nan", "methods.moco-v2.queue"),
        ("clean_fraction = 0.5", "clean_fraction = 1.5", "defenses.distill.clean_fraction"),
        ("[benchmark]", "[benchmark", "not valid TOML"),
    ],
)
def test_one_problem(tmp_path: Path, registry: Registry, old: str, new: str, problem: str) -> None:
    assert old in tiny()
    found = problems(tmp_path / "b.toml", registry, tiny().replace(old, new))
    assert any(problem in text for text in found), found


def test_a_problem_of_one_table_hides_none_of_another(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace("seeds = [0]", "sedes = [0]").replace('target = "', 'target = "x')
    text = text.replace('"rotnet"]', '"rotnot"]') + "[profiles.quick]\nseed = 0\n"
    found = problems(tmp_path / "b.toml", registry, text, "quick")
    for part in (
        "benchmark.sedes: unknown key",
        "profiles.quick.seed: unknown key",
        "matrix.0.methods: no ssl-method is called 'rotnot'",
        "target: there is no class",
    ):
        assert sum(part in problem for problem in found) == 1, found
    assert len(found) == 4


def test_what_a_plugin_raises_is_a_problem_that_names_its_distribution(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backbench.data.embedded import Embedded
    from backbench_attacks.patch_options import PatchOptions
    from backbench_evaluators.evaluator_options import KNNOptions

    def raises(*_: object) -> None:
        raise PermissionError("locked")

    hooks = ((PatchOptions, "problems"), (Embedded, "metadata"), (KNNOptions, "encoder_problems"))
    for owner, name in hooks:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, raises)
            found = problems(tmp_path / "b.toml", registry, tiny())
        assert len(found) == (2 if name == "encoder_problems" else 1)  # it meets two methods
        for problem in found:
            assert "of backbench " in problem
            assert problem.endswith("raised PermissionError: locked")


@pytest.mark.parametrize("given", ["too small", ["too small"], ("too small",)])
def test_a_problem_that_a_plugin_returns_alone_is_one_sentence(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, given: object
) -> None:
    from backbench_attacks.patch_options import PatchOptions

    monkeypatch.setattr(PatchOptions, "problems", lambda *_: given)
    found = problems(tmp_path / "b.toml", registry, tiny())
    assert found == ["attacks.targeted: on dataset 'drawn': too small"]


def test_an_evaluator_is_asked_about_every_backbone_that_it_meets(
    tmp_path: Path, registry: Registry
) -> None:
    text = tiny().replace(
        'evaluators = ["linear", "knn"]', 'evaluators = ["linear", "layer-probe"]'
    )
    text = text.replace("queue = 64", 'queue = 64\nbackbone.name = "timm/resnet18"')
    assert problems(tmp_path / "b.toml", registry, text) == [
        (
            "evaluators.layer-probe: on method 'moco-v2': the stages of 'timm/resnet18' are not known: "
            "a probe of its stages needs 'tiny-resnet' or a ResNet of torchvision"
        )
    ]
    text += 'exclude = [{ methods = "moco-v2", evaluators = "layer-probe" }]\n'
    (tmp_path / "b.toml").write_text(text, encoding="utf-8")
    load_benchmark(tmp_path / "b.toml", registry)


def test_a_model_of_timm_must_exist_and_see_the_images(tmp_path: Path, registry: Registry) -> None:
    text = tiny().replace("queue = 64", 'queue = 64\nbackbone.name = "timm/vit_tiny_patch16_224"')
    (found,) = problems(tmp_path / "b.toml", registry, text)
    start = (
        "methods.moco-v2.backbone.name: on dataset 'drawn': timm/vit_tiny_patch16_224 cannot see "
    )
    assert found.startswith(f"{start}images of 32 x 32 px: ")
    (found,) = problems(tmp_path / "b.toml", registry, text.replace("vit_tiny_patch16_224", "vit"))
    assert "has no model called 'vit'" in found


@pytest.mark.parametrize(
    ("attack", "option", "train", "refused"),
    [
        ("patch", "", (64, 32), True),
        ("patch", "", (48, 40), True),
        ("patch", "", (48, 48), True),
        ("patch", "val_size = 24", (64, 32), False),
        ("patch", "resize = 32", (64, 32), False),
        ("none", "", (64, 32), False),
    ],
)
def test_a_trigger_lies_in_the_square_that_encoders_see(
    tmp_path: Path,
    registry: Registry,
    attack: str,
    option: str,
    train: tuple[int, int],
    *,
    refused: bool,
) -> None:
    for split, size in (("train", train), ("val", (64, 32))):
        for name in ("cat", "dog"):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", size).save(folder / f"{number}.png")
    text = pets(option).replace('attacks = "patch"', f'attacks = "{attack}"')
    if not refused:
        (tmp_path / "b.toml").write_text(text, encoding="utf-8")
        assert len(load_benchmark(tmp_path / "b.toml", registry).cells) == 1
        return
    sentence = (
        "datasets.pets: the validation images are 64 x 32 px, and a trigger may lie outside the "
        "center square that encoders see: set val_size or resize"
    )
    assert problems(tmp_path / "b.toml", registry, text) == [sentence]


def test_a_missing_file_is_one_sentence(tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UsageError, match="no such benchmark file"):
        load_benchmark(tmp_path / "nowhere.toml", registry)


def test_exclude_and_profile_take_cells_away(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "b.toml"
    text = tiny() + 'exclude = [{ methods = ["rotnet"], defenses = "distill" }]\n'
    text += '[profiles.quick]\nattacks = ["targeted"]\nseeds = 0\n'
    path.write_text(text, encoding="utf-8")
    whole = load_benchmark(path, registry).cells
    assert len(whole) == 12
    assert not any(cell.method == "rotnet" and cell.defense == "distill" for cell in whole)
    quick = load_benchmark(path, registry, "quick").cells
    assert set(quick) == {cell for cell in whole if cell.attack == "targeted"}
    found = problems(path, registry, text, "quik")
    assert found == ["profiles: no profile is called 'quik': did you mean 'quick'?"]
    found = problems(path, registry, text.replace('"rotnet"], def', '"rotnot"], def'))
    assert found[0].startswith("matrix.0.exclude.0.methods: no ssl-method is called 'rotnot'")
    found = problems(path, registry, text.replace('"rotnet"], def', '"simclr"], def'))
    remedy = "add it to one, or remove it here"
    assert found == [
        f"matrix.0.exclude.0.methods: no [[matrix]] has the ssl-method 'simclr': {remedy}"
    ]


def test_nothing_left_is_a_problem(tmp_path: Path, registry: Registry) -> None:
    text = tiny() + "exclude = [{ seeds = 0 }]\n"
    assert "no cell is left" in problems(tmp_path / "b.toml", registry, text)[0]


def test_a_plugin_needs_no_table(tmp_path: Path, registry: Registry) -> None:
    path = tmp_path / "b.toml"
    path.write_text(tiny(), encoding="utf-8")
    instance = load_benchmark(path, registry).instances["evaluators"]["knn"]
    assert instance.registered.info.name == "knn"


def test_the_files_own_values_win_over_the_preset(tiny_file: Path, registry: Registry) -> None:
    options = load_benchmark(tiny_file, registry).instances["methods"]["moco-v2"].options
    dump = options.model_dump()
    assert dump["epochs"] == 2
    assert dump["schedule"]["warmup_epochs"] == 0
    assert dump["schedule"]["name"] == "cosine"  # the rest of the preset's table stays
