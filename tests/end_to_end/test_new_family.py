"""A family from outside the package works everywhere: solvers, ngspice, certificate, trainer, files, verify, report."""

import json
from pathlib import Path

import numpy as np
import pytest
from oscillators import FAMILY, OscillatorNetwork

from eqprop_analog import Nudge, UserError, contrast
from eqprop_analog.core import families, load_network, register, registry
from eqprop_analog.core.certificate import certified
from eqprop_analog.core.equilibrium import Status
from eqprop_analog.experiments.agreement import compare
from eqprop_analog.learning.exact_gradient import implicit_gradient
from eqprop_analog.spice.netlist import static_netlist

X = np.random.default_rng(1).uniform(-0.6, 0.6, (4, 3))
Y = np.random.default_rng(2).uniform(-0.5, 0.5, (4, 2))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    families()
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))
    register(FAMILY)


@pytest.fixture
def network() -> OscillatorNetwork:
    return OscillatorNetwork.fresh([3, 5, 2], seed=0)


def test_ngspice_finds_what_its_dynamics_find_and_certifies_it(network: OscillatorNetwork) -> None:
    found = compare(network, X, Y, 0.05)
    assert found.met
    assert found.statuses == {"CONVERGED": 12}
    assert "sin(V(p0_0)-V(p1_0))" in static_netlist(network.circuit(X[:1]))


def test_a_point_that_it_would_leave_is_unstable(network: OscillatorNetwork) -> None:
    upside_down = tuple(np.full((4, size), np.pi) for size in network.layers[1:])
    found = certified(network.equations(np.zeros((4, 3))), upside_down, 1e-9, None)
    assert found.status.tolist() == [Status.UNSTABLE] * 4


def test_its_contrast_is_the_exact_gradient(network: OscillatorNetwork) -> None:
    free, plus, minus = FAMILY.surrogate().solve_phases(network, X, [Nudge(Y, 1e-4), Nudge(Y, -1e-4)])
    exact = implicit_gradient(network, X, Y, free)
    for name, slope in contrast(network, X, plus, minus).items():
        np.testing.assert_allclose(slope, exact[name], rtol=0, atol=1e-6 * np.abs(exact[name]).max())


def test_it_is_saved_and_loaded_as_what_it_is(network: OscillatorNetwork, tmp_path: Path) -> None:
    network.save(tmp_path / "net.npz")
    again = load_network(tmp_path / "net.npz")
    assert isinstance(again, OscillatorNetwork)
    np.testing.assert_array_equal(again.weights[1], network.weights[1])


def test_it_trains_by_the_one_trainer_and_has_a_verification_and_a_report(run, dataset, tmp_path: Path) -> None:
    settings = tmp_path / "oscillators.toml"
    settings.write_text(
        'model = "oscillators"\nshape = [16, 6, 3]\nrate = 4.0\nbeta = 0.05\nbatch_size = 9\nepochs = 3\n'
    )
    given = ("--data-dir", dataset, "--output", "run")
    assert run("train", "--preset", settings, *given).code == 0
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert 0 < metrics["largest_weight"] < 100
    errors = [epoch["train_error"] for epoch in metrics["history"]]
    assert errors[-1] < errors[0]
    assert run("train", "--preset", settings, *given, "--epochs", 4, "--resume").code == 0
    done = run("verify", "run", "--samples", 5, "--data-dir", dataset)
    assert (done.code, done.err) == (0, "")
    assert run("verify", "run/network.npz").code == 0
    assert run("report", "run", "--data-dir", dataset).code == 0
    page = Path("run/report.html").read_text()
    for said in ("Parameters", "weight_1", "ngspice against the surrogate", "Gradients"):
        assert said in page


def test_commands_about_any_network_make_it_fresh_solve_it_and_write_its_netlist(run) -> None:
    made = ("--model", "oscillators", "--layers", 3, 4, 2, "--seed", 1)
    result = run("simulate", *made, "--beta", 0.05, "--json", "-")
    assert result.code == 0
    figures = json.loads(result.out)
    assert figures["agreement"]["met"]
    assert [len(v[0]) for v in figures["phases"]["free"]["voltages"].values()] == [4, 2]
    for coupling, line in ((1, "sin(V(p0_0)-V(p1_0))"), (0.5, "sin(V(p0_0)-V(p1_0))")):
        assert run("netlist", *made, "--coupling", coupling, "--output", f"{coupling}.cir").code == 0
        assert line in Path(f"{coupling}.cir").read_text()
    assert Path("1.cir").read_text() != Path("0.5.cir").read_text()
    assert "oscillators" in run("simulate", "--layers", 3, 2, "--coupling", 2).err


@pytest.mark.parametrize("command", ["energy", "transient"])
def test_a_command_that_it_cannot_do_says_which_kinds_can(run, command: str) -> None:
    result = run(command, "--model", "oscillators", "--layers", 3, 4, 2)
    assert result.code == 2
    assert "resistive" in result.err
    assert "oscillators" in result.err


def test_what_it_does_not_know_is_refused_in_a_sentence(network: OscillatorNetwork) -> None:
    with pytest.raises(UserError, match="oscillators"):
        network.directed_contrast(X, None, None, ())  # type: ignore[arg-type]


def test_a_file_that_registers_it_brings_its_options(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(registry._REGISTERED, "oscillators")
    words = ("netlist", "--model", "oscillators", "--layers", 3, 4, 2, "--coupling", 0.5, "--output", "a.cir")
    assert run(*words).code == 2
    assert run(*words, "--import", Path(__file__).parent / "own_family.py").code == 0
    assert "sin(V(p0_0)-V(p1_0))" in Path("a.cir").read_text()
