"""A netlist that we wrote is a network again, and that network's netlist is the same text; edits by hand mean what they say."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eqprop_analog import ResistiveNetwork
from eqprop_analog.circuit import compile_network, static_netlist
from eqprop_analog.circuit.netlist_import import netlist_of
from eqprop_analog.devices import Antiparallel, Clamp, Law, NgspiceDiode, PiecewiseLinear, Shockley

numbers = st.floats(-1e3, 1e3)
positive = st.floats(1e-13, 1e3)
laws = st.one_of(
    st.builds(NgspiceDiode, positive, st.floats(0.5, 3), numbers, st.floats(-100, 200), st.floats(0, 1e-9)),
    st.builds(Shockley, positive, st.floats(0.5, 3), numbers, st.floats(-100, 200)),
    st.builds(Clamp, numbers, st.one_of(st.just(0.0), positive)),
    st.builds(PiecewiseLinear, numbers.filter(bool), st.floats(1e-6, 1), st.floats(1, 1e20), numbers),
)


def paired(law: Law) -> Law:
    """Two of it, where two are allowed."""
    return law if isinstance(law, Clamp) and law.rail >= 0 else Antiparallel(law)


@st.composite
def written(draw: st.DrawFn) -> tuple[ResistiveNetwork, np.ndarray, Any]:
    """A network, an input vector and a nudge or None."""
    layers = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    pairs = draw(st.booleans()) and layers[-1] % 2 == 0
    network = ResistiveNetwork.dense(
        layers,
        0,
        diode=draw(laws.map(paired) | laws),
        amplifier_gain=draw(
            st.lists(st.sampled_from([1.0, 4.0, 10.0, 1 / 3]), min_size=len(layers) - 2, max_size=len(layers) - 2)
        ),
        input_gain=draw(st.sampled_from([1.0, 10.0, 1 / 3, 0.1234567890123])),
        bias=draw(st.sampled_from([0.0, 1e-8])),
        bias_row=draw(st.sampled_from([0.0, -2.0, 1 / 3])),
        outputs="pairs" if pairs else "single",
    )
    for matrix in network.conductances:
        rows, columns = matrix.shape
        empty = random.random(matrix.shape) < 0.3
        empty[random.integers(rows, size=columns), np.arange(columns)] = False
        matrix[...] = np.where(empty, 0, 10 ** random.uniform(-12, -2, matrix.shape))
    for bias in network.biases:
        bias[...] = random.normal(size=bias.shape) * random.integers(0, 2, bias.shape) * 1e-8
    inputs = draw(st.sampled_from([random.uniform(-1, 1, layers[0]), np.zeros(layers[0]), -np.zeros(layers[0])]))
    g = draw(st.sampled_from([None, 0.0, 1e-9, 1 / 3 * 1e-3]))
    injection = None if g is None else (g, (g or 1e-7) * random.normal(size=(1, layers[-1])))
    return network, inputs[None], injection


@given(written())
@settings(max_examples=150)
def test_netlist_to_network_to_netlist_is_identical_text(case: tuple[ResistiveNetwork, np.ndarray, Any]) -> None:
    network, inputs, injection = case
    text = static_netlist(compile_network(network, inputs, [injection], "flat"))
    read = netlist_of(text)
    assert static_netlist(compile_network(read.network, read.inputs, [read.injection], "flat")) == text
    assert read.network.layers == network.layers
    assert read.network.outputs == network.outputs
    assert read.network.input_gain == network.input_gain
    np.testing.assert_allclose(read.inputs, inputs, rtol=1e-15, atol=0)
    for ours, theirs in zip(read.network.conductances, network.conductances, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15, atol=0)
        assert np.array_equal(ours == 0, theirs == 0)
    for ours, theirs in zip(read.network.biases, network.biases, strict=True):
        assert np.array_equal(ours, theirs)
    if network.depth > 1:
        assert read.network.diode == network.diode
