"""Contract of the defenses that wrap the method of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backbench.options.training import SSLOptions
from backbench.plugin import Defense, DefenseInfo, GuardOptions, PluginInfo, SSLMethodInfo
from backbench.plugin.defense import MOST_CLEAN
from backbench.testing.defense import defense_context
from backbench.testing.samples import same_weights, sample_images
from backbench.testing.ssl_method import TrainedContract

if TYPE_CHECKING:
    from backbench.nn import SSLMethod


class TrainingDefenseContract(TrainedContract):
    """Of a defense of the training: subclass it, and set ``info`` and small ``options``.

    The defense wraps a small contrastive method on two views, unless :meth:`method_class` and
    :meth:`training` give another; what is trained then keeps all promises of a method.
    """

    base = "Defense"

    def method_class(self) -> type[SSLMethod]:
        """Return the class of the method that the defense wraps."""
        from backbench.testing.two_views import TwoViews

        return TwoViews

    def training(self) -> SSLOptions:
        """Return the options of the method that the defense wraps."""
        from backbench.testing.two_views import OPTIONS

        return OPTIONS

    def wrap(self, method: SSLMethod) -> SSLMethod:
        """Let the defense wrap a method, as the stage does."""
        kind, settings = self.implementation(), self.settings()
        defense: Defense = self.guarded("making the defense", lambda: kind(settings))
        context = defense_context(self.metadata, MOST_CLEAN)
        found: Any = self.guarded("guard", lambda: defense.guard(method, context))
        from backbench.nn import SSLMethod

        assert isinstance(found, SSLMethod), (
            "return an SSLMethod from guard, such as a backbench.nn.GuardedMethod, not a "
            f"{type(found).__name__}"
        )
        return found

    def of_stage(self) -> tuple[type[Any], Any, PluginInfo]:
        """Return class, options and record of the method, the plugin of a training."""
        info = SSLMethodInfo(name="wrapped", summary="Is wrapped.", target="a:A")
        return self.method_class(), self.training(), info

    def guard_of_stage(self) -> tuple[type[Any], Any, PluginInfo]:
        """Return class, options and record of the defense."""
        return self.implementation(), self.settings(), self.info

    def test_it_acts_on_the_training(self) -> None:
        """The info record states it, since the planner reads only that."""
        stated = self.info.shapes if isinstance(self.info, DefenseInfo) else ()
        assert "training" in stated, 'state acts_on="training" in the info record'

    def test_it_fits_the_method(self) -> None:
        """``check`` refuses no cell of a method that the defense wraps."""
        settings = self.settings()
        if isinstance(settings, GuardOptions):
            found = list(settings.method_problems(self.training()))
            assert not found, f"let method_problems accept the method of the contract: {found[0]}"

    def test_training_is_another(self) -> None:
        """The encoder has other weights than without the defense."""
        from backbench.training.loop import TrainingRun, pretrain

        run = TrainingRun(self.training(), sample_images(self.metadata), 0, device="cpu")
        plain = pretrain(self.method_class(), run)[0]
        assert not same_weights(self.trained()[0], plain), (
            "change the training: the method alone gives the same weights"
        )
