"""Current-voltage laws of a crossbar's cells: I = G f(u) at the drop u, f odd and increasing with f'(0) = 1.

G is the cell's conductance at small drops, which is programmed and learned. A linear cell has f(u) = u and needs no
law. Source of the hyperbolic sine: Simmons 1963, J. Appl. Phys. 34, 1793 (tunnelling at intermediate voltage), as in
most compact models of filamentary memristors, such as Yakopcic et al. 2011.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Float

from eqprop_analog.devices.law import in_double_precision, require_within
from eqprop_analog.devices.registry import Registry, require_table
from eqprop_analog.errors import UserError

Array = np.ndarray
Drops = Float[Array, "..."]

SCALES = (1e-3, 1e6)
"""Range of the voltage scale of a cell's nonlinearity, volts: from far below the thermal voltage to above any supply."""


class CellLaw(Protocol):
    """I = G f(u): the law f of a cell with conductance G at the drop u."""

    def volts(self, drop: Drops) -> Drops:
        """f(u), volts: the drop at which a linear cell carries the same current."""
        ...

    def slope(self, drop: Drops) -> Drops:
        """f'(u), dimensionless; at least 1, and increasing with |u|."""
        ...

    def cocontent(self, drop: Drops) -> Drops:
        """∫₀ᵘ f, volts squared: ½u² for a linear cell."""
        ...

    def difference(self, middle: Drops, apart: Drops) -> Drops:
        """∫f from ``middle`` - ``apart``/2 to ``middle`` + ``apart``/2, volts squared, accurate for small ``apart``."""
        ...

    def expression(self, siemens: float, drop: str) -> str:
        """The current of a cell of ``siemens`` as a SPICE expression of ``drop``, such as "V(a,b)"."""
        ...


@dataclass(frozen=True)
class _Scaled:
    """A law of one parameter."""

    scale: float
    """V₀, volts: the drop at which the cell carries 1.18 times (sinh) or twice (cubic) the current of a linear cell."""
    units: ClassVar[dict[str, str]] = {"scale": "V"}

    def __post_init__(self) -> None:
        """Raise UserError for an invalid scale."""
        in_double_precision(self)
        require_within(*SCALES, scale=self.scale)


@dataclass(frozen=True)
class SinhCell(_Scaled):
    """I = G V₀ sinh(u/V₀)."""

    def volts(self, drop: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(self.scale * np.sinh(drop / self.scale))

    def slope(self, drop: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(np.cosh(drop / self.scale))

    def cocontent(self, drop: Drops) -> Drops:
        """See CellLaw; V₀²(cosh(u/V₀) - 1) without cancellation at small drops."""
        return np.asarray(2 * (self.scale * np.sinh(drop / (2 * self.scale))) ** 2)

    def difference(self, middle: Drops, apart: Drops) -> Drops:
        """See CellLaw; V₀²(cosh a - cosh b) as a product."""
        return np.asarray(2 * self.scale**2 * np.sinh(middle / self.scale) * np.sinh(apart / (2 * self.scale)))

    def expression(self, siemens: float, drop: str) -> str:
        """See CellLaw."""
        return f"{float(siemens) * self.scale!r}*sinh({drop}/{self.scale!r})"


@dataclass(frozen=True)
class CubicCell(_Scaled):
    """I = G (u + u³/V₀²)."""

    def volts(self, drop: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(drop * (1 + (drop / self.scale) ** 2))

    def slope(self, drop: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(1 + 3 * (drop / self.scale) ** 2)

    def cocontent(self, drop: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(0.5 * drop**2 * (1 + 0.5 * (drop / self.scale) ** 2))

    def difference(self, middle: Drops, apart: Drops) -> Drops:
        """See CellLaw."""
        return np.asarray(middle * apart * (1 + (middle**2 + apart**2 / 4) / self.scale**2))

    def expression(self, siemens: float, drop: str) -> str:
        """See CellLaw."""
        return f"{float(siemens)!r}*{drop}*(1+{drop}*{drop}/{self.scale**2!r})"


CELLS: Registry[CellLaw] = Registry("cell law", {"sinh": SinhCell, "cubic": CubicCell})
"""Laws of cells by their names in tables."""
LINEAR = {"law": "linear"}
"""The table of a cell without a law of its own."""
PARTS = ("volts", "slope", "cocontent", "difference", "expression")


def require_cell(law: object) -> None:
    """Raise UserError unless ``law`` is None (a linear cell) or implements CellLaw."""
    if isinstance(law, str):
        raise UserError(
            f'cells: expected a law, got the name "{law}"; make one by CELLS.from_table({{"law": ..., ...}})'
        )
    missing = [part for part in PARTS if not hasattr(law, part)]
    if law is not None and (missing or isinstance(law, type)):
        kind = law.__name__ if isinstance(law, type) else type(law).__name__
        raise UserError(f"cells: expected a law such as SinhCell(0.5) (devices.cells.CellLaw), or None, got {kind}")


def cell_from(table: Mapping[str, Any]) -> CellLaw | None:
    """The law of a cell that ``table`` describes, such as {"law": "sinh", "scale": "0.5V"}; None for a linear cell.

    Raises UserError, which says what there is.
    """
    require_table(table, "cell")
    if table.get("law") not in CELLS:
        if table == LINEAR:
            return None
        if table.get("law") == LINEAR["law"]:
            raise UserError(f"cell: a linear cell has no parameters, got {', '.join(table.keys() - LINEAR.keys())}")
        raise UserError(f'cell law "{table.get("law")}" is unknown; besides linear {CELLS.there_are(table.get("law"))}')
    return CELLS.from_table(CELLS.with_units(table))


def cell_table(law: CellLaw | None) -> dict[str, object]:
    """The table from which ``cell_from`` makes this law again."""
    return dict(LINEAR) if law is None else CELLS.table_of(law)
