"""The format of MNIST's files, as the tests write it."""

import struct

import numpy as np


def format_idx(array: np.ndarray) -> bytes:
    """A uint8 array of any shape (at least one dimension) as IDX: what ``parse_idx`` reads."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
