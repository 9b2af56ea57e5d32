"""A ReLU network as a resistive network: its outputs as the gain grows, in both solvers; what is refused."""

from itertools import pairwise

import numpy as np
import pytest

from eqprop_analog import NgspiceSolver, ResistiveNetwork, SurrogateSolver, UserError, translate_relu
from eqprop_analog.networks.resistive.relu import relu_outputs

RNG = np.random.default_rng(4)


def layers(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [
        (RNG.normal(size=(rows, columns)) / np.sqrt(rows), RNG.normal(size=columns) / 3)
        for rows, columns in pairwise(sizes)
    ]


NETWORKS = {"one hidden layer": layers(4, 6, 3), "three": layers(5, 7, 6, 5, 2), "a wide one": layers(30, 20, 1)}
X = RNG.uniform(-1, 1, (40, 30))


def by_hand(given: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    for weights, biases in given[:-1]:
        x = np.clip(x @ weights + biases, 0, None)
    return x @ given[-1][0] + given[-1][1]


def error(given: list[tuple[np.ndarray, np.ndarray]], **settings) -> float:
    """Largest difference of the outputs over the largest output."""
    x = X[:, : len(given[0][0])]
    made = translate_relu(given, **settings)
    free = SurrogateSolver().solve(made.network, x).require()
    wanted = by_hand(given, x)
    return float(np.abs(free.outputs / made.output_volts - wanted).max() / np.abs(wanted).max())


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("settings", [{}, {"input_gain": 3.0, "conductance_window": (0.0, 5e-6)}])
def test_the_error_falls_as_one_over_the_gain(name: str, settings: dict) -> None:
    given = NETWORKS[name]
    gain = 10 * translate_relu(given, **settings).least_gain
    errors = [error(given, amplifier_gain=factor * gain, **settings) for factor in (1, 4, 16)]
    assert errors[0] < 0.1
    for before, after in pairwise(errors):
        assert 3 < before / after < 5.5


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("window", [(0.0, 1e-4), (1e-7, 1e-4)])
def test_conductances_stay_in_their_window(name: str, window: tuple[float, float]) -> None:
    made = translate_relu(NETWORKS[name], conductance_window=window)
    for matrix in made.network.conductances:
        assert matrix.min() >= window[0]
        assert matrix.max() <= window[1]
    assert made.network.conductance_window == window
    made.network.validate()


def test_hidden_nodes_are_the_activations_of_either_sign() -> None:
    given = NETWORKS["one hidden layer"]
    made = translate_relu(given, amplifier_gain=1e4)
    x = X[:, :4]
    hidden = SurrogateSolver().solve(made.network, x).voltages[0] * 1e4
    wanted = np.clip(x @ given[0][0] + given[0][1], 0, None)
    np.testing.assert_allclose(hidden, np.concatenate([wanted, -wanted], axis=1), atol=2e-3)


def test_ngspice_finds_the_same_outputs() -> None:
    given = NETWORKS["one hidden layer"]
    network = ResistiveNetwork.from_relu(given, amplifier_gain=100.0)
    x = X[:3, :4]
    solver = NgspiceSolver()
    try:
        measured = solver.solve(network, x).require()
    finally:
        solver.close()
    np.testing.assert_allclose(measured.outputs, SurrogateSolver().solve(network, x).outputs, atol=1e-6)


def test_a_torch_sequential_is_its_arrays() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(4, 6),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Linear(6, 3, bias=False),
    ).eval()
    x = X[:, :4]
    wanted = model(torch.tensor(x, dtype=torch.float32)).detach().numpy()
    np.testing.assert_allclose(relu_outputs(model, x), wanted, atol=1e-5)
    assert error(_arrays(model), amplifier_gain=200.0) < 0.02
    with pytest.raises(UserError, match=r"Linear.*Sigmoid.*2"):
        translate_relu(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sigmoid(), torch.nn.Linear(2, 1)))


def _arrays(model) -> list[tuple[np.ndarray, np.ndarray]]:
    linear = [module for module in model if hasattr(module, "weight")]
    zero = [np.zeros(len(module.weight)) if module.bias is None else module.bias.detach().numpy() for module in linear]
    return [(module.weight.detach().numpy().T, bias) for module, bias in zip(linear, zero, strict=True)]


@pytest.mark.parametrize(
    ("given", "settings", "words"),
    [
        (layers(3, 2), {}, "two layers"),
        ([*layers(3, 4), *layers(3, 2)], {}, "expected 4 rows"),
        ([(np.ones((3, 4)), np.ones(3)), *layers(4, 2)], {}, "biases of layer 1"),
        ([(np.full((3, 4), np.nan), np.ones(4)), *layers(4, 2)], {}, "weights of layer 1"),
        ([(np.zeros((3, 4)), np.ones(4)), *layers(4, 2)], {}, "all 0"),
        ([np.ones((3, 4)), np.ones((4, 2))], {}, "weights, biases"),
        (5, {}, "Sequential.*int"),
        *((layers(3, 4, 2), {"amplifier_gain": gain}, "at least") for gain in (1.0, 0.5, 0.0, -3.0)),
        (layers(3, 4, 2), {"amplifier_gain": 1e300}, "at most"),
        *((layers(3, 4, 2), {"input_gain": gain}, "input_gain") for gain in (0.0, 1e300)),
        (layers(3, 4, 2), {"conductance_window": (9e-5, 1e-4)}, "window"),
    ],
)
def test_what_cannot_be_translated_is_refused(given, settings, words) -> None:
    with pytest.raises(UserError, match=words):
        translate_relu(given, **settings)
