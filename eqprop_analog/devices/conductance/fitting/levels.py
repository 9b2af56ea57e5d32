"""Levels: whether readings cluster at a few conductances that are visited repeatedly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Array = np.ndarray

FARTHEST_APART = 6.0
"""Smallest gap between levels, in standard deviations of the readings of one level."""
VISITS = 4
"""Smallest average number of readings per level; with fewer, they are points of a curve that was passed once."""
MOST = 256
EQUAL = 3.0
"""Largest deviation of equally spaced levels from the means, in standard errors."""


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels that were found."""

    means: Float[Array, " levels"]
    """Siemens."""
    errors: Float[Array, " levels"]
    """Standard errors of the levels, siemens."""
    spread: float
    """Standard deviation of the readings of one level, siemens."""

    @property
    def equally_spaced(self) -> bool:
        """Whether a straight line fits all levels."""
        number = np.arange(len(self.means))
        line = np.polyval(np.polyfit(number, self.means, 1, w=1 / self.errors), number)
        return bool((np.abs(self.means - line) <= EQUAL * self.errors + 1e-9 * line[-1]).all())


def levels_of(readings: Float[Array, " readings"]) -> Levels | None:
    """Return the levels at which ``readings`` (S) cluster, or None if they do not.

    The sorted readings are split at their k largest gaps; the largest k with well-separated groups is used.
    """
    ordered = np.sort(readings)
    gaps = np.diff(ordered)
    largest = np.argsort(gaps)[::-1]
    floor = 1e-6 * (ordered[-1] - ordered[0])
    best = None
    for count in range(2, min(MOST, len(ordered) // VISITS) + 1):
        cuts = np.sort(largest[: count - 1])
        groups = np.split(ordered, cuts + 1)
        within = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
        sigma = float(np.sqrt(within / max(len(ordered) - count, 1)))
        means = np.array([group.mean() for group in groups])
        if np.diff(means).min() >= FARTHEST_APART * max(sigma, floor):
            sizes = np.array([len(group) for group in groups])
            best = Levels(means, max(sigma, floor) / np.sqrt(sizes), sigma)
    if best is None or len(best.means) < 3:  # two groups are only the two ends
        return None
    return best
