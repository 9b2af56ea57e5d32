"""Preprocessing and augmentation of images for Hopfield networks."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from eqprop_analog import data
from eqprop_analog.devices.buffer import buffer_from

if TYPE_CHECKING:
    from eqprop_analog.networks.hopfield.config import HopfieldConfig

Array = np.ndarray


def prepared(config: "HopfieldConfig", images: Float[Array, "samples inputs"]) -> Float[Array, "samples inputs"]:
    """Return (pixel - mean)/deviation for each channel, optionally followed by a buffer."""
    if config.input_buffer:
        plain = config.model_copy(update={"input_buffer": False})
        return buffer_from(dict(config.buffer)).output(prepared(plain, images))
    if config.pixel_mean is None and config.pixel_deviation is None:
        return images
    channels = config.image_shape[0]
    mean = np.array(config.pixel_mean or [0.0] * channels, images.dtype)[:, None]
    deviation = np.array(config.pixel_deviation or [1.0] * channels, images.dtype)[:, None]
    return ((images.reshape(len(images), channels, -1) - mean) / deviation).reshape(images.shape)


def augmented(
    config: "HopfieldConfig", images: Float[Array, "samples inputs"], random: np.random.Generator
) -> Float[Array, "samples inputs"]:
    """Return flipped and shifted images."""
    channels = config.image_shape[0]
    if config.flip:
        images = data.flipped(images, random, channels=channels)
    if config.shift:
        images = data.shifted(images, config.shift, random, channels=channels, edge=config.edge)
    return images
