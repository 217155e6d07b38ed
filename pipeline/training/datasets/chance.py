"""Random draws that a key decides alone: the same key, the same volume, in any process and any order."""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

_Item = TypeVar("_Item")
_LARGEST_DRAWN_ON_THE_CPU = 100_000


class Chance:
    """Draws of scalars and of small tables, the same on every device, and of volumes, made on the device they are for.

    The scalars come from Python's generator, which costs a tenth of a tensor of one value.
    """

    def __init__(self, key: str, device: torch.device) -> None:
        digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
        self.device = device
        self._scalars = random.Random(int.from_bytes(digest[:8], "little"))
        seed = int.from_bytes(digest[8:], "little") >> 1
        self.tables = torch.Generator().manual_seed(seed)
        # Apart from the tables, so that a volume drawn on another device does not shift them.
        self._volumes = torch.Generator(device).manual_seed(seed ^ 1)

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between two bounds."""
        return self._scalars.uniform(low, high)

    def log_uniform(self, low: float, high: float) -> float:
        """Draw a positive number whose logarithm is uniform between the bounds'."""
        return math.exp(self._scalars.uniform(math.log(low), math.log(high)))

    def normal(self, mean: float = 0.0, deviation: float = 1.0) -> float:
        """Draw a Gaussian number."""
        return self._scalars.gauss(mean, deviation)

    def log_normal(self, median: float, spread: float) -> float:
        """Draw a positive number whose logarithm is Gaussian about the median's, with a standard deviation."""
        return median * math.exp(self._scalars.gauss(0.0, spread))

    def signed(self, median: float, spread: float) -> float:
        """Draw a log-normal size with either sign."""
        return self.log_normal(median, spread) * (1.0 if self.happens(0.5) else -1.0)

    def integer(self, low: int, high: int) -> int:
        """Draw an integer between two bounds, both included."""
        return self._scalars.randint(low, high)

    def happens(self, share: float) -> bool:
        """Tell whether something with a probability occurs."""
        return self._scalars.random() < share

    def choice(self, items: Sequence[_Item], shares: Sequence[float] | None = None) -> _Item:
        """Pick one item, by shares where they are given."""
        return self._scalars.choices(items, weights=shares)[0]

    def direction(self) -> tuple[float, float, float]:
        """Draw a unit vector, any direction as likely as any other."""
        height, angle = self.uniform(-1.0, 1.0), self.uniform(0.0, 2 * math.pi)
        ring = math.sqrt(max(0.0, 1 - height**2))
        return height, ring * math.sin(angle), ring * math.cos(angle)

    def rotation(self, largest_deg: float = 180.0) -> Tensor:
        """Draw a rotation `(3, 3)` about a random axis by at most an angle [degree]."""
        axis = torch.tensor(self.direction())
        return rotation_about(axis, math.radians(self.uniform(0.0, largest_deg)))

    def noise(self, *shape: int) -> Tensor:
        """Draw Gaussian noise of unit variance; small tables are the same on every device."""
        if math.prod(shape) <= _LARGEST_DRAWN_ON_THE_CPU:
            return torch.randn(shape, generator=self.tables).to(self.device)
        return torch.randn(shape, generator=self._volumes, device=self.device)


def rotation_about(axis: Tensor, angle: float) -> Tensor:
    """Return the rotation `(3, 3)` about a unit vector by an angle [rad] (Rodrigues' formula)."""
    a, b, c = axis.tolist()
    cross = torch.tensor([[0.0, -c, b], [c, 0.0, -a], [-b, a, 0.0]])
    return torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
