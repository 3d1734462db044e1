"""What was worked out lately, so that the next call of the same tool need not do it again."""

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 256
LARGEST_SOURCE = 64 * 1024
"""Characters; results of larger sources are not kept, so that all of them together stay within some 100 MiB."""


class Recent(Generic[K, V]):
    """The last `most` values by their keys; for one event loop."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value, if it is still there."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> V:
        """Keep a value, and let the one go that was not asked for the longest."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value
