"""Augmentation: changes of an image that keep its class."""

import math

import numpy as np


def shifted(
    images: np.ndarray, most: int, random: np.random.Generator, *, channels: int = 1, edge: bool = False
) -> np.ndarray:
    """Shift each square image, a row of pixels, by up to ``most`` pixels horizontally and vertically.

    Pixels that move in are 0 or, with ``edge``, the nearest pixel of the image.
    """
    count, side = len(images), math.isqrt(images.shape[1] // channels)
    frame = ((0, 0), (0, 0), (most, most), (most, most))
    framed = np.pad(images.reshape(count, channels, side, side), frame, mode="edge" if edge else "constant")
    down, across = random.integers(0, 2 * most, (2, count), endpoint=True)
    windows = np.lib.stride_tricks.sliding_window_view(framed, (side, side), (2, 3))
    return windows[np.arange(count), :, down, across].reshape(images.shape)


def flipped(images: np.ndarray, random: np.random.Generator, *, channels: int = 1) -> np.ndarray:
    """Mirror each square image, a row of pixels, horizontally with probability one half."""
    count, side = len(images), math.isqrt(images.shape[1] // channels)
    square = images.reshape(count, channels, side, side)
    turned = random.random(count) < 0.5
    return np.where(turned[:, None, None, None], square[..., ::-1], square).reshape(images.shape)
