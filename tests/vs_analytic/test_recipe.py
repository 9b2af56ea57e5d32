"""What a recipe derives from a network, against hand calculation and the laws of scaling."""

from dataclasses import replace

import numpy as np
import pytest

from eqprop_analog import ResistiveNetwork, SurrogateSolver, data
from eqprop_analog.devices import Clamp
from eqprop_analog.experiments.presets import resolve
from eqprop_analog.networks.resistive.config import ResistiveConfig
from eqprop_analog.networks.resistive.recipe import BIAS_STEP, NUDGE, STEP, SWING, Recipe, recipe, swing

LAYERS = [20, 8, 6, 4]


def fresh(**settings: object) -> ResistiveNetwork:
    return ResistiveNetwork.dense(LAYERS, 1, **{"diode": Clamp(), **settings})  # type: ignore[arg-type]


def of(network: ResistiveNetwork, batch: int = 4) -> Recipe:
    return recipe(network, 0.4, batch)


def test_inputs_move_the_outputs_by_the_wanted_part_of_the_target() -> None:
    found = of(fresh())
    assert found.swing == pytest.approx(SWING, rel=0.02)
    assert swing(replace(fresh(), input_gain=found.input_gain), 0.4) == pytest.approx(found.swing, rel=1e-9)


def test_without_hidden_nodes_the_rate_is_the_hand_calculation() -> None:
    """r = Σ_i x_i (G⁺ - G⁻)/D: ∂r/∂G± = (±x - r)/D, so ‖∂r/∂G‖² = 2 (‖x‖² + n r²)/D², and ∂r/∂b = 1/D, for every output."""
    network = ResistiveNetwork.dense([5, 1], 3, diode=Clamp(), conductance_window=(1e-6, 1e-4))
    found = of(network)
    network = replace(network, input_gain=found.input_gain)
    volts = found.input_gain * np.random.default_rng(0).uniform(0, np.sqrt(3) * 0.4, (32, 5))
    total = network.conductances[0].sum()
    read = volts @ (network.conductances[0][:5] - network.conductances[0][5:])[:, 0] / total
    kernel = (2 * ((volts**2).sum(axis=1) + 5 * read**2) / total**2).mean()
    assert found.rates.conductances == pytest.approx([2 * STEP / kernel], rel=1e-9)
    assert found.rates.biases == pytest.approx([2 * BIAS_STEP * STEP * total**2], rel=1e-9)
    assert found.beta == pytest.approx(NUDGE * total, rel=1e-9)


def test_the_nudge_is_a_part_of_the_exact_bound_of_definiteness() -> None:
    network = fresh()
    assert of(network).beta == pytest.approx(NUDGE * np.linalg.eigvalsh(network.output_stiffness())[0], rel=1e-12)


@pytest.mark.parametrize("k", [1e-3, 50.0])
def test_scaling_all_conductances_scales_beta_by_k_and_rates_by_k_squared(k: float) -> None:
    one = fresh(conductance_window=(1e-6, 1e-4))
    other = replace(
        one,
        conductances=tuple(k * matrix for matrix in one.conductances),
        conductance_window=(k * 1e-6, k * 1e-4),
    )
    a, b = of(one), of(other)
    assert b.input_gain == pytest.approx(a.input_gain, rel=1e-9)
    assert b.beta == pytest.approx(k * a.beta, rel=1e-9)
    assert b.rates.conductances == pytest.approx([k**2 * rate for rate in a.rates.conductances], rel=1e-7)
    assert b.rates.biases == pytest.approx([k**2 * rate for rate in a.rates.biases], rel=1e-7)
    assert b.sweeps == a.sweeps


def test_amplifiers_let_the_inputs_be_smaller_by_the_product_of_their_gains() -> None:
    """With ideal clamps at 0 V, a gain changes only the scale of the voltages before it."""
    one, other = of(fresh()), of(fresh(amplifier_gain=[3.0, 5.0]))
    assert other.input_gain == pytest.approx(one.input_gain / 15, rel=1e-6)


def test_larger_batches_bear_larger_rates_but_not_in_proportion() -> None:
    small, usual, large = (of(fresh(), batch).rates.conductances[0] for batch in (1, 4, 64))
    assert small < usual < large
    assert usual / small < 4
    assert large / usual < 16


def test_an_input_gain_that_is_given_stays_and_the_rates_follow_it() -> None:
    """Only the square of the output voltages matters: a tenth of the voltages needs a hundred times the rate."""
    strong = of(fresh())
    weak = recipe(replace(fresh(), input_gain=strong.input_gain / 10), 0.4, 4, given_gain=True)
    assert weak.input_gain == strong.input_gain / 10
    assert weak.swing == pytest.approx(strong.swing / 10, rel=1e-6)
    assert weak.rates.conductances == pytest.approx([100 * rate for rate in strong.rates.conductances], rel=1e-6)


def test_the_sweeps_settle_the_untrained_network() -> None:
    found = of(fresh())
    network = replace(fresh(), input_gain=found.input_gain)
    inputs = np.random.default_rng(4).uniform(0, 0.7, (16, LAYERS[0]))
    settled = SurrogateSolver().solve(network, inputs).outputs
    left = SurrogateSolver(sweeps=found.sweeps).solve(network, inputs).outputs - settled
    assert np.abs(left).max() < 1e-4 * np.abs(settled).max()


def test_what_a_configuration_gives_stays_and_the_rest_follows() -> None:
    config = resolve("own-shape", {"layers": [64, 8, 10], "dataset": "digits", "beta": 3e-8})
    assert isinstance(config, ResistiveConfig)
    found = recipe(config.network(), data.RMS["digits"], config.batch_size, given_gain=True)
    assert config.beta == 3e-8
    assert config.conductance_rates == pytest.approx(list(found.rates.conductances), rel=1e-9)
    assert config.sweeps == found.sweeps
    again = ResistiveConfig.model_validate(config.model_dump())
    assert again == config


def test_the_pixels_of_a_data_set_are_those_that_recipes_assume() -> None:
    pixels = data.load("digits").train_images.astype(float)
    assert np.sqrt((pixels**2).mean()) == pytest.approx(data.RMS["digits"], rel=0.01)
    assert set(data.RMS) == set(data.SHAPES)
