"""The methods that a defense of the training can wrap."""

from backbench.nn import SSLMethod
from backbench.plugin import TwoViewMethod


def two_views(method: SSLMethod) -> TwoViewMethod:
    """Return a method on two views.

    Raises:
        TypeError: If it is another.
    """
    if not isinstance(method, TwoViewMethod):
        raise TypeError(f"{type(method).__name__} is no TwoViewMethod")
    return method
