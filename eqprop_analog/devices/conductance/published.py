"""Technologies with the parameters that their papers give."""

from eqprop_analog.devices.conductance.drift_joshi2020 import Joshi2020Drift
from eqprop_analog.devices.conductance.programming_noise import GaussianNoise
from eqprop_analog.devices.conductance.relaxation_falcone2025 import Falcone2025Relaxation
from eqprop_analog.devices.conductance.technology import Technology
from eqprop_analog.devices.conductance.window import Window

PCM_JOSHI2020 = Technology(
    Window(0.0, 25e-6),
    noise=GaussianNoise(absolute=0.2635e-6, relative=1.9650 / 25, curvature=-1.1731e-6 / 25e-6**2),
    drift=Joshi2020Drift(25e-6),
)
"""Doped Ge2Sb2Te5 mushroom cells, written and verified: σ = 0.2635 + 1.9650 g - 1.1731 g² µS, g = G/25 µS (Joshi et al. 2020,
Nature Communications 11, 2473)."""

CMO_HFOX_FALCONE2025 = Technology(
    Window(8e-6, 90e-6),
    noise=GaussianNoise(absolute=11.218e-9, relative=11.2902e-3),
    drift=Falcone2025Relaxation(),
)
"""Conductive metal oxide on HfOx, written and verified to 2 %: σ = 11.2902 (G/µS) + 11.218 nS (Falcone et al. 2025, arXiv
2502.04524; within 0.2 %, ``GaussianNoise(0.811e-9, 1.0687e-3)``)."""
