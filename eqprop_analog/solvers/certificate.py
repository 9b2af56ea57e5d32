"""The certificate by its name of version 0.1.0: it is core.certificate's, one for all networks."""

from eqprop_analog.core.certificate import RUNAWAY, certified, largest

__all__ = ["RUNAWAY", "certified", "largest"]
