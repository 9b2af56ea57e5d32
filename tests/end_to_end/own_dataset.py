"""A user's data set: points on two rings, generated in every process."""

from pathlib import Path

import numpy as np

from eqprop_analog.data import Samples, register_dataset


def rings(_data_dir: Path | None) -> Samples:
    """Inside or outside."""
    random = np.random.default_rng(0)
    labels = np.arange(120) % 2
    angle, radius = random.uniform(0, 2 * np.pi, 120), 0.4 + 0.5 * labels
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return Samples(points, labels, None, ("inside", "outside"), ("x", "y"))


register_dataset("two-rings", rings)
