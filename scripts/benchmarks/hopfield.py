"""The time of a sweep of the CIFAR-10 network of 2021 on a GPU, and the accuracy of its gradient in half precision.

Measures milliseconds for a sweep of the free phase and for a whole gradient (without the free phase), replayed as CUDA graphs, by
batch size; a sweep has 0.642 GFLOP per image. Then it measures the cosine between each connection's gradient in half precision
and that in float64 from the same equilibrium, which is converged and nudged by 1e-3, with frozen winners and without. The images
are random, because the speed does not depend on them.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np

from benchmarks import add_repeats
from eqprop_analog import HopfieldNetwork
from eqprop_analog.cli import console, options
from eqprop_analog.errors import UserError
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.networks.hopfield.config import HopfieldConfig

GIGA = 0.642
"""Floating-point operations per image and sweep, 1e9."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[128, 256, 512], metavar="N", help="batch sizes (default 128 256 512)"
    )
    parser.add_argument("--network", metavar="FILE", help="trained weights for the gradient (default: initial weights)")
    add_repeats(parser, 5)
    options.add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write."""
    import torch

    if not torch.cuda.is_available():
        raise UserError("hopfield: PyTorch finds no GPU on this machine, and this benchmark needs one")
    torch.backends.cudnn.deterministic = True
    fresh = cast("HopfieldConfig", resolve("cifar-10-2021", {})).network()
    speeds = [speed(fresh, batch, arguments.repeats) for batch in arguments.batches]
    console.table(
        f"{torch.cuda.get_device_name(0)}, half precision",
        ["batch", "ms per free sweep", "TFLOP/s", "ms per gradient of 2 x 10 nudged sweeps"],
        [[f"{row['batch']:.0f}", *(f"{row[key]:.3g}" for key in ("sweep", "rate", "gradient"))] for row in speeds],
    )
    network = fresh if arguments.network is None else HopfieldNetwork.load(arguments.network)
    cosines = exactness(network)
    names = list(next(iter(cosines.values())))
    console.table(
        "cosine to the gradient in float64, 64 images",
        ["winners", *names],
        [[kind, *(f"{row[name]:.3f}" for name in names)] for kind, row in cosines.items()],
    )
    figures = {"device": torch.cuda.get_device_name(0), "torch": torch.__version__, "speed": speeds, "cosines": cosines}
    options.report_figures(arguments, figures)


def settings(batch: int, precision: str, sweeps: tuple[int, int], beta: float, over: float) -> Any:
    """Settings of the kernels for phases with these numbers of sweeps (free, nudged)."""
    from eqprop_analog.kernels.torch.motions import Motion
    from eqprop_analog.kernels.torch.training import Settings

    rest = Motion("descent", over)
    free = (Motion("descent", 1.0, "forward"), 1), (rest, sweeps[0] - 1)
    nudged = (Motion("descent", 1.0, "backward"), 1), (rest, sweeps[1] - 1)
    return Settings(batch, free, nudged, beta, cost="cross-entropy", precision=precision, frozen=precision == "half")


def speed(network: HopfieldNetwork, batch: int, repeats: int) -> dict[str, float]:
    """Times of a free sweep and of a gradient, milliseconds."""
    import torch

    from eqprop_analog.kernels.torch.phases import begun
    from eqprop_analog.kernels.torch.training import captured, prepared
    from eqprop_analog.kernels.torch.training import run as relax

    wanted, sweeps = settings(batch, "half", (30, 10), 1.0, 1.0), 30
    trainer, images = trainer_of(network.astype("float32"), wanted, batch)
    x = prepared(images, torch.arange(batch, device="cuda"), wanted)

    def free() -> Any:
        phase = begun(trainer.values_class(trainer.network, wanted.free[0][0], x))
        relax(phase, wanted.free)
        return phase

    device = torch.device("cuda")
    sweep = milliseconds(captured(free, [], device), repeats) / sweeps
    settled = free()
    gradient = milliseconds(captured(lambda: trainer.gradient(settled, trainer.labels), [], device), repeats)
    return {"batch": batch, "sweep": sweep, "rate": GIGA * batch / sweep, "gradient": gradient}


def trainer_of(network: HopfieldNetwork, wanted: Any, batch: int) -> tuple[Any, Any]:
    """A trainer of the kernels, with random images."""
    import torch

    from eqprop_analog.kernels.torch.network import TorchNetwork
    from eqprop_analog.kernels.torch.training import HopfieldTrainer

    random = np.random.default_rng(0)
    pixels = random.normal(size=(batch, 3, 32, 32)).astype(np.float32) / 3
    images = torch.from_numpy(pixels).cuda()
    labels = torch.from_numpy(random.integers(0, 10, batch)).cuda()
    return HopfieldTrainer(TorchNetwork(network, "cuda"), wanted, images, labels), images


def exactness(network: HopfieldNetwork) -> dict[str, dict[str, float]]:
    """Cosines between gradients in half precision, with frozen winners and without, and those in float64."""
    import torch

    from eqprop_analog.kernels.torch.phases import begun
    from eqprop_analog.kernels.torch.training import prepared
    from eqprop_analog.kernels.torch.training import run as relax

    def phase(kernel: Any, images: Any, start: Any = None) -> Any:
        x = prepared(images, torch.arange(len(images), device="cuda"), kernel.settings)
        found = begun(kernel.values_class(kernel.network, kernel.settings.free[0][0], x), start)
        relax(found, kernel.settings.free)
        return found

    half, images = trainer_of(network.astype("float32"), settings(64, "half", (40, 20), 1.0, 1.4), 64)
    free = phase(half, images)
    exact, _ = trainer_of(network.astype("float64"), settings(64, "float64", (150, 120), 1e-3, 1.3), 64)
    exact.settings = replace(exact.settings, free=exact.settings.free[1:])
    wanted = exact.gradient(phase(exact, images, [s.double() for s in free.states]), exact.labels)
    found = {}
    for kind, frozen in (("frozen", True), ("free", False)):
        half.settings = replace(half.settings, frozen=frozen)
        gradient = half.gradient(free, half.labels)
        weights = [name for name in gradient if "weight" in name]
        found[kind] = {name: cosine(gradient[name], wanted[name]) for name in weights}
    return found


def cosine(one: Any, other: Any) -> float:
    """Cosine between two arrays."""
    a, b = one.double().flatten(), other.double().flatten()
    return float(a @ b / (a.norm() * b.norm()))


def milliseconds(replay: Callable[[], None], repeats: int) -> float:
    """Median time of the replays, after one that is not counted."""
    import torch

    times = []
    for _ in range(repeats + 1):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        replay()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[1:])
