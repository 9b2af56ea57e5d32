"""A technology and its table: the round trip is exact, and an error names what is invalid."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from eqprop_analog import ResistiveNetwork, UserError
from eqprop_analog.devices.conductance import (
    ChipDevices,
    ExponentialPulses,
    Falcone2025Relaxation,
    GaussianNoise,
    Joshi2020Drift,
    LinearPulses,
    LogNormalNoise,
    PowerLawDrift,
    SoftBounds,
    Spread,
    StuckCells,
    TablePulses,
    Technology,
    Window,
)
from eqprop_analog.experiments.chips.keys import keys, markdown
from eqprop_analog.experiments.chips.specification import Specification
from eqprop_analog.files import packaged
from eqprop_analog.networks.resistive.chips.chip import Chip

small = st.floats(0, 1)
any_number = st.floats(-1e3, 1e3)
positive = st.floats(1e-9, 1e3)
inside = st.floats(1e-6, 0.999)
counting = st.sampled_from(["exact", "stochastic", "truncated"])
nonlinearity = st.floats(1e-6, 100) | st.floats(-100, -1e-6)
every_technology = st.builds(
    Technology,
    st.builds(
        lambda low, span, levels: Window(
            low, low + span, (low + span / 4, low + span / 2) if levels == "quarters" else levels
        ),
        small,
        st.floats(1e-9, 1),
        st.none() | st.integers(2, 1 << 20) | st.just("quarters"),
    ),
    st.none()
    | st.builds(GaussianNoise, any_number, any_number, any_number)
    | st.builds(LogNormalNoise, st.floats(0, 1e3)),
    st.builds(Spread, small, small),
    st.builds(StuckCells, st.floats(0, 0.5), st.floats(0, 0.5)),
    st.none()
    | st.builds(PowerLawDrift, small, small, positive)
    | st.builds(Joshi2020Drift, positive, positive)
    | st.builds(Falcone2025Relaxation, small, small, small),
    st.builds(LinearPulses, positive, counting, small)
    | st.builds(SoftBounds, inside, inside, counting, small)
    | st.builds(ExponentialPulses, nonlinearity, nonlinearity, positive, positive, counting, small)
    | st.builds(TablePulses, st.just((0.0, 0.7, 1.0)), st.just((1.0, 0.4, 0.0)), positive, positive, counting, small),
)


@given(every_technology)
def test_a_table_and_its_toml_make_the_technology_again(given_technology: Technology) -> None:
    table = given_technology.table()
    assert Technology.from_table(table) == given_technology
    assert Technology.from_table(tomllib.loads(tomli_w.dumps(table))) == given_technology


def test_what_a_table_does_not_say_is_ideal() -> None:
    assert Technology.from_table({}) == Technology()
    window_alone = Technology.from_table({"window": {"highest": 5e-5}, "pulses": {"law": "linear"}})
    assert window_alone == Technology(Window(0.0, 5e-5))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"windows": {}}, r'conductance: "windows" is unknown; there are window, noise, spread, stuck, drift, pulses'),
        ({"window": 3}, r"conductance\.window: expected a table, got 3"),
        ({"window": {"low": 1e-6}}, r'conductance\.window: "low" is unknown; there are lowest, highest, levels'),
        ({"window": {"lowest": 1e-3}}, r"conductance\.window: expected 0 <= lowest < highest .* got 0.001 and 0.0001"),
        ({"window": {"levels": "many"}}, r"conductance\.window: levels.*finite number, got 'many'"),
        ({"window": {"levels": 1}}, r"conductance\.window: levels must be a whole number of at least 2, got 1"),
        ({"noise": {"sigma": 0.1}}, r'conductance\.noise: law "None" is unknown; there are gaussian, log-normal'),
        ({"noise": {"law": ["gaussian"]}}, r"conductance\.noise: law .* is unknown; there are gaussian, log-normal"),
        ({"noise": {"law": "gaussian", "sigma": 1.0}}, r'noise: .* law gaussian: "sigma" is unknown; there are abs'),
        ({"noise": {"law": "log-normal", "sigma": -1.0}}, r"noise: .* sigma must not be negative, got -1"),
        ({"spread": {"factor": "0.3"}}, r"conductance\.spread: factor.*finite number, got '0.3'"),
        ({"stuck": {"on": None}}, r"conductance\.stuck: on.*finite number, got None"),
        ({"stuck": {"on": 0.7, "off": 0.7}}, r"conductance\.stuck: stuck fractions must .* got 0.7 and 0.7"),
        ({"drift": {"law": "none"}}, r"drift: law \"none\" is unknown; there are power-law, joshi2020, falcone2025"),
        ({"drift": {"law": "power-law"}}, r'conductance\.drift: parameters of law power-law: "exponent" is missing'),
        ({"drift": {"law": "falcone2025", "fall": True}}, r"drift: .* fall.*finite number, got True"),
        (
            {"pulses": {"law": "soft"}},
            r'conductance\.pulses: law "soft" is unknown; there are linear, soft-bounds, exp',
        ),
        ({"pulses": {"law": "soft-bounds", "up": 0.1}}, r'parameters of law soft-bounds: "down" is missing'),
        ({"pulses": {"law": "soft-bounds", "up": "a", "down": 0.1}}, r"pulses: .* up.*finite number, got 'a'"),
        ({"pulses": {"law": "linear", "counting": 3}}, r'pulses: .* counting "3" is unknown; there are exact, stoch'),
        ({"pulses": {"law": "linear", "cycle_noise": "x"}}, r"pulses: .* cycle_noise.*finite number, got 'x'"),
    ],
)
def test_a_table_that_describes_no_technology_is_refused(table: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Technology.from_table(table)


def test_quantities_may_have_units_and_wrong_units_are_named() -> None:
    drift = {"law": "joshi2020", "highest": "25uS", "reference": "20s"}
    technology = Technology.from_table({"window": {"lowest": "2nS", "highest": "180 nS"}, "drift": drift})
    assert (technology.window.lowest, technology.window.highest) == (2e-9, 180e-9)
    assert technology.drift == Joshi2020Drift(25e-6, 20.0)
    with pytest.raises(UserError, match=r"conductance\.window: lowest: expected siemens"):
        Technology.from_table({"window": {"lowest": "5kohm"}})


def test_a_law_of_ones_own_has_no_name_in_tables() -> None:
    class Mine(LinearPulses):
        pass

    with pytest.raises(ValueError, match=r"Mine is not registered.*linear, soft-bounds, exponential"):
        Technology(pulses=Mine()).table()


@pytest.mark.parametrize("name", packaged("specifications"))
def test_every_published_technology_makes_chips_that_write_and_train(name: str) -> None:
    specification = Specification.load(name)
    published = specification.technology
    assert published == Technology.from_table(published.table())
    assert specification.description
    window = published.window
    devices = ChipDevices.drawn(published, [(40, 30)], 0, dtype=np.float32).crossbars[0]
    conductance = devices.programmed(np.full((40, 30), window.lowest + 0.5 * window.span))
    before = conductance.copy()
    devices.update(conductance, np.full((40, 30), 0.25 * window.span, np.float32), np.random.default_rng(0))
    assert 0.05 * window.span < np.mean(conductance - before) < 0.5 * window.span


def test_there_are_published_technologies_of_hafnium_and_tantalum_oxide_and_of_phase_change_memory() -> None:
    for material in ("hfo", "taox", "pcm"):
        assert any(material in name for name in packaged("specifications"))


def greatest_bow(law: ExponentialPulses, window: Window, sign: int) -> float:
    """Largest distance, relative to the window, between the curve from one end to the other and a straight line."""
    low, high = np.array(window.lowest), np.array(window.highest)
    way = np.linspace(0, 1, 2001)
    pulses = sign * way * (law.pulses_up if sign > 0 else law.pulses_down)
    reached = np.full_like(way, low if sign > 0 else high)
    law.apply(reached, pulses, low, high, np.random.default_rng(0))
    start, end = (low, high) if sign > 0 else (high, low)
    np.testing.assert_allclose(reached[-1], end, rtol=1e-6)
    return np.max((reached - start) / (end - start) - way)


@pytest.mark.parametrize(
    ("name", "states", "labels", "on_resistance", "ratio"),
    [
        ("alox-hfo2-woo2016", 40, (1.94, 0.61), 16.9e3, 4.43),
        ("taox-tio2-gao2015", 102, (1.85, 1.79), 5e6, 2.0),
    ],
)
def test_pulsed_technologies_are_those_of_neurosims_table(name, states, labels, on_resistance, ratio) -> None:
    published = Specification.load(name).technology
    window, law = published.window, published.pulses
    assert 1 / window.highest == pytest.approx(on_resistance, rel=1e-3)
    assert window.highest / window.lowest == pytest.approx(ratio, rel=1e-3)
    assert isinstance(law, ExponentialPulses)
    assert (law.pulses_up, law.pulses_down) == (states, states)
    np.testing.assert_array_less(0, law.rates)
    bows = [greatest_bow(replaced, window, sign) for replaced, sign in ((quiet(law), 1), (quiet(law), -1))]
    np.testing.assert_allclose(np.array(bows) / 0.099, labels, atol=0.005)  # what its labels of nonlinearity mean


def quiet(law: ExponentialPulses) -> ExponentialPulses:
    return ExponentialPulses(law.up, law.down, law.pulses_up, law.pulses_down)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[conductance", "not a readable TOML file"),
        ("conductance = 1", "specification: conductance: Input should be a valid dictionary, got 1"),
        ("drift = 1\n[conductance]", "specification: drift: Extra inputs are not permitted"),
        (
            "[conductance.window]\nlowest = 1",
            r"specification: conductance: conductance\.window: expected 0 <= lowest < high",
        ),
        (
            "[wires]\nresistance = -1",
            "specification: wires.resistance: Input should be greater than or equal to 0, got -1",
        ),
    ],
)
def test_a_file_that_holds_no_specification_is_refused(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        Specification.load(str(file))


def test_a_name_or_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r'specification "unobtainium" is unknown; there are alox-hfo2-woo2016, .*toml file'
    ):
        Specification.load("unobtainium")
    with pytest.raises(UserError, match="no such specification"):
        Specification.load(str(tmp_path / "none.toml"))


def test_levels_may_be_a_list_in_siemens_or_with_units() -> None:
    levels = ["2uS", 11e-6, "0.04mS"]
    window = Technology.from_table({"window": {"lowest": "2uS", "highest": "80uS", "levels": levels}}).window
    assert window.levels == (2e-6, 11e-6, 40e-6)
    wanted = np.array([0.0, 6.4e-6, 6.6e-6, 25.4e-6, 25.6e-6, 1.0])
    np.testing.assert_array_equal(window.nearest(wanted), [2e-6, 2e-6, 11e-6, 11e-6, 40e-6, 40e-6])
    np.testing.assert_allclose(window.spacing(wanted), [9e-6, 9e-6, 9e-6, 29e-6, 29e-6, 29e-6])


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ([1e-6], "at least two"),
        ([2e-6, 1e-6], "ascending"),
        ([1e-6, 2e-4], "between lowest and highest"),
        ([1e-6, True], "finite number, got True"),
        (["1uS", "2V"], "siemens"),
    ],
)
def test_a_list_that_holds_no_levels_is_refused(levels: list, words: str) -> None:
    with pytest.raises(UserError, match=rf"conductance\.window: .*{words}"):
        Technology.from_table({"window": {"levels": levels}})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"up": [0, 0.5, 0.4, 1]}, "up: .* 0.5 followed by 0.4"),
        ({"down": [1, 0.5]}, "down: .* from 1 to 0"),
        ({"up": 3}, "up: expected a list"),
        ({"up": [0, "x", 1]}, "up: .*'x'"),
        ({"pulses_up": 0}, "pulses_up must be positive"),
    ],
)
def test_a_table_of_pulses_that_turns_back_is_refused(changes: dict, words: str) -> None:
    table = {"law": "table", "up": [0, 0.7, 1], "down": [1, 0.2, 0], **changes}
    with pytest.raises(UserError, match=rf"conductance\.pulses: .*{words}"):
        Technology.from_table({"pulses": table})


def test_the_page_of_keys_is_what_the_classes_say() -> None:
    page = (Path(__file__).parents[2] / "docs" / "specification.md").read_text(encoding="utf-8")
    assert markdown() in page


def test_every_key_has_a_meaning_and_every_setting_of_the_shipped_files_is_a_key() -> None:
    known = {f"{key.table}.{key.name}".removeprefix(".") for key in keys()}
    assert [key for key in keys() if not key.meaning] == []
    for name in packaged("specifications"):
        assert set(Specification.load(name).settings()) <= known


def test_listed_levels_and_tables_of_pulses_make_chips_that_are_begun_written_and_trained() -> None:
    table = {
        "window": {"lowest": "2uS", "highest": "80uS", "levels": ["2uS", "11uS", "19uS", "40uS", "80uS"]},
        "pulses": {"law": "table", "up": [0, 0.55, 0.8, 0.93, 1], "down": [1, 0.3, 0.12, 0.04, 0], "pulses_up": 40},
    }
    specification = Specification.of({"conductance": table})
    network = ResistiveNetwork.dense([4, 3, 2], conductance_window=(2e-6, 80e-6)).astype(np.float32)
    chip = Chip.drawn(specification, network, 0)
    chip.begin(network)
    levels = np.array(specification.technology.window.levels, np.float32)
    assert all(np.isin(matrix, levels).all() for matrix in chip.network.conductances)
    wanted = {f"conductance_{k}": np.full_like(m, 4e-6) for k, m in enumerate(chip.network.conductances, start=1)}
    before = [matrix.copy() for matrix in chip.network.conductances]
    chip.change(wanted | {f"bias_{k}": np.zeros_like(b) for k, b in enumerate(chip.network.biases, start=1)})
    for matrix, old in zip(chip.network.conductances, before, strict=True):
        assert matrix.dtype == np.float32
        assert ((matrix >= old) & (matrix <= np.float32(80e-6))).all()
        assert (matrix > old).any()
