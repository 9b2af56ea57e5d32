"""Max pooling in ngspice: the winner is passed on, feedback reaches only the winner, and the first of equal sites wins."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eqprop_analog import HopfieldNetwork, NgspiceSolver, Nudge, Status, UserError
from eqprop_analog.cli import main
from eqprop_analog.devices.buffer import Sigmoid
from eqprop_analog.experiments.agreement import _other_winners, compare
from eqprop_analog.networks.hopfield.connections import Convolution, Dense
from eqprop_analog.networks.hopfield.family import surrogate
from eqprop_analog.networks.hopfield.netlist import compile_hopfield, default_swing
from eqprop_analog.spice.dialects import DIALECTS
from eqprop_analog.spice.netlist import static_netlist

BOUND = 1e-9
"""Volts."""
RunNgspice = Callable[[str], Any]


def network(seed: int = 0, scale: float = 2.0, **settings: Any) -> HopfieldNetwork:
    """Two convolutions with pooling; the windows of the second omit a row and a column."""
    one = Convolution((1, 6, 6), channels=2, kernel=3, padding=1, pool=2)
    two = Convolution(one.pooled, channels=2, kernel=2, pool=2, padding=1)
    net = HopfieldNetwork.build([one, two, Dense(two.sizes[1], 3)], seed, initial="fan-in", **settings)
    for values in (*net.weights[1:], *net.returning):
        values[...] *= scale
    return net


def images(net: HopfieldNetwork, seed: int = 0) -> np.ndarray:
    """An image of random pixels, a white one, and one with a white upper half: many windows have equal sites."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, 1, (3, net.layers[0]))
    pixels[1] = 1
    pixels[2] = np.arange(net.layers[0]) < net.layers[0] // 2
    return pixels


def distance(one: Any, other: Any) -> float:
    return max(float(np.abs(v - w).max()) for v, w in zip(one.voltages, other.voltages, strict=True))


@pytest.fixture(scope="module", params=["norton", "flat"])
def solver(request: pytest.FixtureRequest) -> Iterator[NgspiceSolver]:
    solver = NgspiceSolver(form=request.param)
    yield solver
    solver.close()


@pytest.mark.parametrize(
    "settings",
    [{}, {"untied": True}, {"buffer": Sigmoid()}, {"feedback": 0.3}, {"classes": 4}],
    ids=["tied", "untied", "logistic", "weak feedback", "head"],
)
def test_ngspice_finds_the_surrogates_free_and_nudged_states(settings: dict[str, Any], solver: NgspiceSolver):
    net = network(3, **settings)
    inputs = images(net)
    nudges = [Nudge(np.eye(net.classes)[np.arange(3) % net.classes], beta) for beta in (0.4, -0.4)]
    measured = solver.solve_phases(net, inputs, nudges)
    for found, expected in zip(measured, surrogate().solve_phases(net, inputs, nudges), strict=True):
        assert set(found.status) == {Status.CONVERGED}
        assert found.residual.max() < BOUND
        assert distance(found, expected) < BOUND
    assert distance(measured[1], measured[0]) > 1e-3


def winners(text: str, values: dict[str, float], flag: str) -> dict[str, int]:
    """The site of each window (X element) that is at 1 V; all others are at 0 V."""
    found = {}
    for name, nets in re.findall(r"^(Xpool\S+) (\S+(?: \S+)*) max_pool_\d+ ", text, re.MULTILINE):
        sites = [net for net in nets.split() if net.startswith(flag)]
        if sites:
            volts = [values[f"v({net})"] for net in sites]
            assert sorted(volts) == [0] * (len(volts) - 1) + [1]
            found[name] = int(np.argmax(volts))
    return found


@pytest.mark.parametrize("untied", [False, True], ids=["tied", "untied"])
@pytest.mark.parametrize("image", range(3))
def test_the_circuits_winners_are_numpys_and_of_equals_the_first(image: int, untied: bool, run_ngspice: RunNgspice):
    net = network(3, untied=untied)
    inputs = images(net)[image : image + 1]
    free = surrogate().solve(net, inputs)
    begin = np.concatenate(net.equations(inputs).forces(free.voltages), axis=1)[0]
    text = static_netlist(compile_hopfield(net, inputs, form="flat"), begin)
    asked = "".join(f"print v({net})\n" for net in re.findall(r"\bmr?w\d_\d+\b", text))
    done = run_ngspice(text.replace("\nop\n", f"\nop\n{asked}"))
    before = (inputs, *free.voltages)
    tied = 0
    for layer, each in enumerate(net.connections[:2], start=1):
        chosen = {f"mw{layer}": (f"Xpool{layer}", net.weights[layer - 1])}
        if untied and layer == 2:
            chosen["mrw2"] = ("Xpoolr2", net.returning[0])
        for flag, (prefix, weights) in chosen.items():
            expected = each.winners(weights, before[layer - 1])
            assert expected is not None
            found = winners(text, done.values, flag)
            assert found == {f"{prefix}_{j}": int(k) for j, k in enumerate(expected.ravel())}
            sites = (before[layer - 1][0] @ each.matrix(weights))[each.windows]
            tied += int((sites.max(axis=1, keepdims=True) - sites < 1e-12).sum() - len(sites))
    assert tied > 5 or image == 0  # sites that are equal to a winner


def test_a_site_within_rounding_of_the_largest_wins_if_it_is_the_first(run_ngspice: RunNgspice):
    """One window with sites set by sources: the second is lower than the third by ``short``."""
    made = compile_hopfield(network(), images(network())[:1], form="flat")
    text = static_netlist(made)
    library = ""
    for name in ("pool_site", "max_pool_4"):
        library += re.findall(rf"^\.subckt {name} .*?^\.ends {name}\n", text, re.MULTILINE | re.DOTALL)[0]
    for short, winner in ((1e-15, 2), (1e-10, 3)):
        volts = (0.1, 0.5 - short, 0.5, 0.5)
        sources = "".join(f"V{k} s{k} 0 {v!r}\n" for k, v in enumerate(volts, start=1))
        pool = "Xpool node s1 s2 s3 s4 w1 w2 w3 w4 max_pool_4 g=2e-6 tie=4e-15\nRnode node 0 1e6\n"
        prints = "".join(f"print v({net})\n" for net in ("w1", "w2", "w3", "w4", "node"))
        done = run_ngspice(
            f"* pool\n{library}{sources}{pool}.control\nset numdgt=15\nop\n{prints}quit 0\n.endc\n.end\n"
        )
        assert [done.values[f"v(w{k})"] for k in (1, 2, 3, 4)] == [float(k == winner) for k in (1, 2, 3, 4)]
        assert done.values["v(node)"] == pytest.approx(2 * volts[winner - 1], rel=1e-12)


def test_weights_of_losing_sites_carry_nothing_back(run_ngspice: RunNgspice):
    net = network(3)
    inputs = images(net)[:1]
    free = surrogate().solve(net, inputs)
    begin = np.concatenate(net.equations(inputs).forces(free.voltages), axis=1)[0]
    text = static_netlist(compile_hopfield(net, inputs, form="flat"), begin)
    back = re.findall(r"^Xback2_(\d+) (\S+) mw2_\d+ (\S+) (\S+) pool_return$", text, re.MULTILINE)
    nets = {net for _, *named in back for net in named}
    done = run_ngspice(text.replace("\nop\n", "\nop\n" + "".join(f"print v({net})\n" for net in sorted(nets))))
    chosen = net.connections[1].winners(net.weights[1], free.voltages[0])
    assert chosen is not None
    windows = net.connections[1].windows
    won = set(windows[np.arange(len(windows)), chosen.ravel()].tolist())
    for site, output, true, inverted in back:
        state = done.values[f"v({output})"] if int(site) in won else 0.0
        assert done.values[f"v({true})"] == pytest.approx(state, abs=1e-12)
        assert done.values[f"v({inverted})"] == pytest.approx(-state, abs=1e-12)
    expected = default_swing(net) * free.voltages[1][0]
    assert [done.values[f"v(hp2_{j})"] for j in range(len(windows))] == pytest.approx(expected.tolist(), abs=BOUND)


def test_the_comparison_reports_where_cold_starts_end():
    net = network(3)
    inputs = images(net)
    result = compare(net, inputs, np.eye(3)[np.arange(3) % 3], 0.4)
    assert result.met
    assert result.other_winners == 0
    assert result.cold_starts is not None
    assert list(result.cold_starts) == ["same", "elsewhere", "none"]
    assert sum(result.cold_starts.values()) == len(inputs)
    plain = HopfieldNetwork.dense([4, 3, 2], 0)
    assert compare(plain, np.ones((1, 4)), np.eye(2)[:1], 0.4).cold_starts is None


def test_a_window_with_another_winner_is_counted_and_no_agreement():
    net = network(3)
    inputs = images(net)[:1]
    phases = surrogate().solve_phases(net, inputs, [Nudge(np.eye(3)[:1], beta) for beta in (0.4, -0.4)])
    moved = [replace(each, voltages=tuple(v[:, ::-1].copy() for v in each.voltages)) for each in phases]
    ours, theirs = (net.winners(inputs, some[0].voltages) for some in (phases, moved))
    assert np.array_equal(ours[0], theirs[0])  # the image decides
    differing = sum(
        int((net.winners(inputs, one.voltages)[1] != net.winners(inputs, other.voltages)[1]).sum())
        for one, other in zip(phases, moved, strict=True)
    )
    assert _other_winners(net, inputs, phases, moved) == differing > 0
    agreement = compare(net, inputs, np.eye(3)[:1], 0.4)
    assert agreement.met
    assert not replace(agreement, other_winners=1).met


def test_a_cold_start_that_is_certified_elsewhere_is_another_equilibrium():
    net = network(3, scale=3.0)
    inputs = images(net)
    cold = NgspiceSolver(cold=True)
    found, warm = cold.solve(net, inputs), surrogate().solve(net, inputs)
    cold.close()
    away = np.max([np.abs(v - w).max(axis=1) for v, w in zip(found.voltages, warm.voltages, strict=True)], axis=0)
    assert ((away > 1e-3) & found.good).any()
    again = surrogate().solve(net, inputs[found.good], start=found.select(found.good))
    assert distance(again, found.select(found.good)) < BOUND


def test_commands_take_networks_that_pool(tmp_path: Path, run_ngspice: RunNgspice, capsys: pytest.CaptureFixture[str]):
    net = network(5)
    net.save(tmp_path / "pool.npz")
    np.save(tmp_path / "x.npy", images(net)[:1])
    given = ["--inputs", str(tmp_path / "x.npy"), "--json", str(tmp_path / "out.json")]
    assert main(["verify", str(tmp_path / "pool.npz"), *given]) == 0
    agreements = json.loads((tmp_path / "out.json").read_text())["agreement"]
    assert [each["form"] for each in agreements] == ["norton", "flat"]
    assert all(each["met"] and sum(each["cold_starts"].values()) == each["samples"] for each in agreements)
    assert "cold starts" in capsys.readouterr().out
    assert main(["simulate", "--network", str(tmp_path / "pool.npz"), *given]) == 0
    netlist = tmp_path / "pool.cir"
    asked = ["--network", str(tmp_path / "pool.npz"), "--inputs", str(tmp_path / "x.npy"), "--form"]
    states = surrogate().solve(net, images(net)[:1]).outputs[0]
    for form in ("norton", "flat"):
        assert main(["netlist", *asked, form, "--output", str(netlist)]) == 0
        done = run_ngspice(netlist.read_text())
        outputs = [done.values[f"v(op_{k})"] / default_swing(net) for k in range(3)]
        assert outputs == pytest.approx(states.tolist(), abs=BOUND)


def test_a_dialect_has_pools_or_is_refused_by_name():
    net = network()
    made = compile_hopfield(net, images(net)[:1], form="flat")
    texts = {name: static_netlist(made, dialect=DIALECTS[name]) for name in ("ltspice", "xyce")}
    assert "Bwon" not in texts["ltspice"]  # LTspice has its own version, with if() instead of ? and :
    assert re.search(r"if\(V\(site\)>=V\(largest\)-\{tie\},1,0\)", texts["ltspice"])
    assert re.search(r"^Bwon won 0 V=\{V\(earlier\) > 0\.5 \? 0 : ", texts["xyce"], re.MULTILINE)
    with pytest.raises(UserError, match="gnucap"):
        static_netlist(made, dialect=DIALECTS["gnucap"])


def test_a_pool_of_more_sites_than_a_subcircuit_has_pins_is_refused_with_its_size():
    one = Convolution((1, 23, 23), channels=1, kernel=1, pool=23)
    net = HopfieldNetwork.build([one, Dense(1, 2)], 0)
    with pytest.raises(UserError, match=r"529 sites.*1059 pins.*1005"):
        compile_hopfield(net, np.zeros((1, 529)), form="flat")
