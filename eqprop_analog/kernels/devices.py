"""Description of the device on which a training run was computed, for its metrics."""

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any


def described(device: str) -> dict[str, Any]:
    """Return the device's name, PyTorch's version and, for a GPU, the peak memory (bytes), for ``device`` of a configuration."""
    if device == "cpu" or find_spec("torch") is None:
        return {}
    import torch

    named: dict[str, Any] = {"device_name": "CPU", "torch": version("torch")}
    if device == "cuda" and torch.cuda.is_available():
        named |= {
            "device_name": torch.cuda.get_device_name(),
            "cuda": torch.version.cuda,
            "peak_device_memory_bytes": torch.cuda.max_memory_allocated(),
        }
    return named
