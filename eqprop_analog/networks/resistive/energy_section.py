"""The section of the report on power and energy of a resistive network."""

from collections.abc import Iterator
from pathlib import Path

from eqprop_analog.errors import UserError
from eqprop_analog.networks.resistive.power_plot import power_by_part
from eqprop_analog.networks.resistive.power_report import NOT_COUNTED, PHASES, EnergyReport, energy_report
from eqprop_analog.plotting.sheet import engineering
from eqprop_analog.report.folder import RunFolder
from eqprop_analog.report.page import Block, Table, Text, Tile, picture

METERED = 4
"""Number of test images for which power is reported."""
CAPACITANCE = 1e-12
"""Assumed capacitance at every node for settling time and energy, farads."""


def energy(run: RunFolder, folder: Path) -> tuple[list[Tile], list[Block]]:
    """Power and energy at the equilibria of a few test images. Raises UserError if they cannot be computed."""
    if run.circuit is not run.network:
        raise UserError("power and energy are not computed for circuits with wires or nonlinear cells")
    images, targets = (values[:METERED] for values in run.samples)
    report = energy_report(run.network, images, targets, run.circuit_beta, (CAPACITANCE,))  # type: ignore[arg-type]
    return list(_tiles(report)), list(_blocks(report, folder))


def _tiles(report: EnergyReport) -> Iterator[Tile]:
    for name, label, joules in (
        ("inference", "energy of an inference", report.inference),
        ("training", "energy of a training sample", report.training),
    ):
        mean = float(joules.mean())
        yield Tile(name, label, engineering(mean, "J"), repr(mean), f"{len(joules)} images, 1 pF per node")


def _blocks(report: EnergyReport, folder: Path) -> Iterator[Block]:
    """Power by part, settling times and energies."""
    yield Text(
        f"Means of {len(report.stored)} test images, by the surrogate, with every resistor, and with "
        f"{engineering(CAPACITANCE, 'F')} assumed at every node. A phase lasts until {100 * report.fraction:g} % of the change "
        f"is left; delivered and dissipated power agree to {report.imbalance:.1g}. Not counted: {NOT_COUNTED}."
    )
    power_by_part(report, folder / "power.png")
    yield picture(
        folder / "power.png",
        "Horizontal bars on a logarithmic scale: power that each source delivers and that each part dissipates, in every phase.",
    )
    powers = [phase.power for phase in report.phases]
    rows = [
        [f"from {part}", *(engineering(float(power.sources[part].mean()), "W") for power in powers)]
        for part in powers[0].sources
    ]
    rows += [
        [f"in {part}", *(engineering(float(power.sinks[part].mean()), "W") for power in powers)]
        for part in powers[0].sinks
    ]
    rows += [
        ["time to settle", *(engineering(float(phase.settling_time.mean()), "s") for phase in report.phases)],
        ["energy", *(engineering(float(phase.energy.mean()), "J") for phase in report.phases)],
    ]
    names = dict(zip(PHASES, ("free", "+β", "-β"), strict=True))
    yield Table("Power by part, and energy", ("", *names.values()), rows)
