"""Contract of backbones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backbench.options.base import Options
from backbench.testing.base import PluginContract
from backbench.testing.purity import global_generators_untouched

if TYPE_CHECKING:
    from torch import Tensor

    from backbench.nn import BackboneNetwork

_IMAGES, _MANY, _PART = 4, 64, 7


class BackboneContract(PluginContract):
    """Subclass it, and set ``info``; ``options`` are what ``backbone.arguments`` takes."""

    base = "BackboneNetwork"

    def build(self, seed: int = 0) -> BackboneNetwork:
        """Make the network in evaluation mode, with the weights of a seed."""
        import torch

        make, options = self.implementation(), self.settings()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network: BackboneNetwork = self.guarded("making the network", lambda: make(options))
        return network.eval()

    def images(self, count: int = _IMAGES) -> Tensor:
        """Make normalized images, (count, 3, H, W), of the dataset's size."""
        import torch

        height, width = self.metadata.size or (32, 32)
        generator = torch.Generator().manual_seed(0)
        return torch.randn(count, 3, height, width, generator=generator)

    def features(self, network: BackboneNetwork, images: Tensor) -> Any:
        """Compute features without a gradient."""
        import torch

        with torch.no_grad():
            return self.guarded("forward", lambda: network(images))

    def test_features_are_a_row_an_image(self) -> None:
        """Images (B, 3, H, W) give finite features (B, D); D is ``feature_dim``."""
        import torch

        network = self.build()
        width: object = self.guarded("feature_dim", lambda: network.feature_dim)
        is_width = isinstance(width, int) and not isinstance(width, bool) and width > 0
        assert is_width, f"return the number of features from feature_dim, not {width!r}"
        found = self.features(network, self.images())
        assert isinstance(found, torch.Tensor), (
            f"return a tensor from forward, not a {type(found).__name__}"
        )
        assert found.shape == (_IMAGES, width), (
            f"return features of shape ({_IMAGES}, {width}), not {tuple(found.shape)}: average "
            "the maps, or change feature_dim"
        )
        assert bool(found.isfinite().all()), "return finite features"
        assert bool((found[0] != found[1]).any()), "let features depend on the image"

    def test_one_image_is_enough_in_evaluation_mode(self) -> None:
        """The features of an image are the same, whatever images are seen beside it."""
        import torch

        network, images = self.build(), self.images()
        together = self.features(network, images)
        alone = self.features(network, images[:1])
        assert torch.allclose(together[:1], alone, rtol=1e-3, atol=1e-4), (
            "compute the features of each image by itself: they change with the other images"
        )

    def test_many_images_have_the_features_of_few(self) -> None:
        """Features do not depend on the size of a batch, nor on the first one that is seen."""
        import torch

        contrasts = torch.linspace(0.5, 2, _MANY).reshape(-1, 1, 1, 1)
        images = self.images(_MANY) * contrasts  # the first batch is unlike all others
        whole, parted = self.build(), self.build()
        together = self.features(whole, images)
        parts = torch.cat([self.features(parted, part) for part in torch.split(images, _PART)])
        assert torch.allclose(together, parts, rtol=1e-3, atol=1e-4), (
            "compute the features of each image by itself, and keep nothing of the images that are "
            f"seen: {_MANY} images at once have other features than in batches of {_PART}"
        )

    def test_features_are_deterministic(self) -> None:
        """In evaluation mode, images give the same features again, and nothing is drawn."""
        network, images = self.build(), self.images()
        before = {name: one.clone() for name, one in network.state_dict().items()}
        with global_generators_untouched():
            first, again = (self.features(network, images) for _ in range(2))
        assert first.equal(again), (
            "draw nothing and count nothing in evaluation mode: images have other features again"
        )
        after = network.state_dict()
        changed = [name for name, one in before.items() if not one.equal(after[name])]
        assert not changed, f"change no weight in evaluation mode: {changed[0]} has changed"

    def test_weights_are_of_the_global_generator(self) -> None:
        """Two networks of a seed are equal, those of two seeds are not."""
        first, again, other = (self.build(seed).state_dict() for seed in (0, 0, 1))
        same = first.keys() == again.keys() and all(
            first[name].equal(again[name]) for name in first
        )
        assert same, "draw weights from torch's global generator: those of one seed differ"
        assert any(not first[name].equal(other[name]) for name in first), (
            "draw weights from torch's global generator: those of two seeds are the same"
        )

    def test_the_state_dict_holds_the_network(self, tmp_path: Path) -> None:
        """An encoder that is written to a file and read again gives the same features."""
        from safetensors.torch import load_file, save_file

        network, images, path = self.build(), self.images(), tmp_path / "weights.safetensors"
        trained = self.build(2)  # as far as the file is concerned
        trained.load_state_dict(network.state_dict())
        state = {name: one.contiguous() for name, one in trained.state_dict().items()}
        self.guarded("its state dict as a file", lambda: save_file(state, path))
        read = self.build(3)
        self.guarded("its state dict", lambda: read.load_state_dict(load_file(path)))
        assert self.features(network, images).equal(self.features(read, images)), (
            "keep all that features depend on in parameters and buffers: a network with the same "
            "state dict gives other features"
        )

    def test_it_is_built_without_numbers(self) -> None:
        """On the meta device, as ``backbench check`` builds it, images have features too."""
        import torch

        make, options = self.implementation(), self.settings()
        with torch.device("meta"), torch.no_grad():
            network = self.guarded("making it on the meta device", lambda: make(options).eval())
            shown = torch.empty_like(self.images(2))
            found = self.guarded("forward on the meta device", lambda: network(shown))
        assert tuple(found.shape) == (2, network.feature_dim), (
            f"return features (2, {network.feature_dim}) on the meta device, not "
            f"{tuple(found.shape)}"
        )

    def test_it_trains(self) -> None:
        """In training mode, each of its parameters that takes a gradient gets one."""
        network = self.build().train()
        found = self.guarded("forward in training mode", lambda: network(self.images()))
        assert found.requires_grad, "keep the gradient: forward must not detach features"
        found.square().sum().backward()
        wrong = [
            name
            for name, one in network.named_parameters()
            if one.requires_grad and one.grad is None
        ]
        assert not wrong, f"use every parameter, or let it take no gradient: {wrong[0]} gets none"

    def test_options_name_no_file(self) -> None:
        """Options are plain values: an encoder's file has them, and nothing beside it."""
        settings: Options = self.settings()
        assert not settings.files(), (
            f"take no path: the weights of a backbone are fresh ({', '.join(settings.files())})"
        )
