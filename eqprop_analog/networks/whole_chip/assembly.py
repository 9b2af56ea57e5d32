"""The circuit of a whole chip as branches between nodes: the ends of each branch, and the matrix of the branch slopes.

Each end of a branch is a node, an amplifier output or an input row. Let e be the voltages of all these ends, D the incidence
matrix of branches and ends, and y f(u) the current of a branch at the drop u = D e; then the currents Dᵀ y f(D e) leave the ends.
The current leaving an amplifier output, times b/A, leaves its node (C), and the output follows its node with slope dA/dv (P):

    F(v) = s - Cᵀ Dᵀ y f(D e(v)),      -∂F/∂v = Cᵀ Dᵀ diag(y f') D P.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array, csc_array, csr_array
from scipy.sparse.linalg import splu

from eqprop_analog.networks.crossbars.driven import DrivenCrossbar

Array = np.ndarray
Ends = Int[Array, "branches 2"]


@dataclass(frozen=True, eq=False)
class Assembly:
    """The branches of a chip. Ends: nodes (layers 1..L, row ports, wires), drives of the hidden nodes, input rows."""

    names: tuple[str, ...]
    """Nets of the nodes."""
    hidden: int
    """Number of hidden nodes, which are the first ones, each with a drive."""
    rows: int
    """Number of input rows."""
    ends: Ends
    siemens: Float[Array, " branches"]
    """Conductance of each branch, siemens; at small drops for a cell with a law."""
    cells: tuple[Int[Array, "cells 3"], ...]
    """(branch, row, column) of every cell of each crossbar."""
    returns: Float[Array, " hidden"]
    """b/A of every hidden node: fraction of its drive current that the node supplies."""

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.names)

    @property
    def all_ends(self) -> int:
        """Number of nodes, drives and input rows."""
        return self.size + self.hidden + self.rows

    @cached_property
    def nonlinear(self) -> Int[Array, " cells"]:
        """Indices of the branches that are cells."""
        return np.concatenate([each[:, 0] for each in self.cells])

    @cached_property
    def incidence(self) -> csr_array:
        """D, the incidence matrix of branches and ends."""
        count = len(self.ends)
        values = np.tile([1.0, -1.0], count)
        return csr_array((values, self.ends.ravel(), np.arange(0, 2 * count + 1, 2)), shape=(count, self.all_ends))

    @cached_property
    def leaving(self) -> csr_array:
        """Dᵀ, which sums the currents that leave each end."""
        return csr_array(self.incidence.T)

    @cached_property
    def touching(self) -> csr_array:
        """|Dᵀ|, which sums over the branches at each end."""
        return abs(self.leaving)

    @cached_property
    def degree(self) -> int:
        """Largest number of branches at an end."""
        return int(np.bincount(self.ends.ravel()).max())

    def collected(self, at_ends: Float[Array, "batch ends"]) -> Float[Array, "batch nodes"]:
        """Cᵀ: currents that leave the nodes, from the currents that leave the ends, amperes."""
        found = at_ends[:, : self.size].copy()
        found[:, : self.hidden] += self.returns * at_ends[:, self.size : self.size + self.hidden]
        return found

    @cached_property
    def own_slope(self) -> Float[Array, " nodes"]:
        """Lower bound of the diagonal of -∂F/∂v, siemens: linear branches that end at the node; drives only increase it."""
        return np.bincount(self.ends.ravel(), np.repeat(self.siemens, 2), self.all_ends)[: self.size]

    @cached_property
    def _terms(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        """Branch, sign, return factor, controlling end, row and column of every term of the matrix."""
        node = np.concatenate([np.arange(self.size), np.arange(self.hidden), np.full(self.rows, -1)])
        factor = np.concatenate([np.ones(self.size), self.returns, np.zeros(self.rows)])
        of, to = self.ends[:, [0, 0, 1, 1]].ravel(), self.ends[:, [0, 1, 0, 1]].ravel()
        branch, sign = np.repeat(np.arange(len(self.ends)), 4), np.tile([1.0, -1.0, -1.0, 1.0], len(self.ends))
        kept = (node[of] >= 0) & (node[to] >= 0)
        of, to, branch, sign = of[kept], to[kept], branch[kept], sign[kept]
        return branch, sign, factor[of], to, node[of], node[to]

    @cached_property
    def order(self) -> Int[Array, " nodes"]:
        """An elimination order with sparse factors."""
        _, _, _, _, row, column = self._terms
        own = np.arange(self.size)
        places = np.concatenate([row, column, own]), np.concatenate([column, row, own])
        pattern = coo_array((np.ones(len(places[0])), places), shape=(self.size,) * 2).tocsc()
        pattern.data[:] = -1.0
        pattern.setdiag(float(np.diff(pattern.indptr).max() + 1))
        factors = splu(pattern, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return np.argsort(factors.perm_c)

    @cached_property
    def stencil(self) -> tuple[csr_array, Int[Array, " entries"], Int[Array, " columns"], Int[Array, " nodes"]]:
        """(sum of terms to matrix entries, rows of entries, starts of columns, positions of the diagonal), in ``order``."""
        place = np.empty(self.size, np.intp)
        place[self.order] = np.arange(self.size)
        _, _, _, _, row, column = self._terms
        own = np.arange(self.size)  # positions of the diagonal, in order
        where = np.concatenate([place[column] * self.size + place[row], own * (self.size + 1)])
        places, entry = np.unique(where, return_inverse=True)
        terms = len(row)
        scatter = csr_array((np.ones(terms), (entry[:terms], np.arange(terms))), shape=(len(places), terms))
        columns, rows = np.divmod(places, self.size)
        return scatter, rows, np.searchsorted(columns, np.arange(self.size + 1)), entry[terms:]

    def matrix(
        self, slopes: Float[Array, " branches"], follow: Float[Array, " hidden"], more: Float[Array, " nodes"]
    ) -> csc_array:
        """-∂F/∂v in ``order`` from the slopes of branches (S) and drives, with ``more`` (S) added to the diagonal."""
        branch, sign, factor, to, _, _ = self._terms
        scatter, rows, starts, diagonal = self.stencil
        data = scatter @ (sign * factor * slopes[branch] * self.followed(follow)[to])
        data[diagonal] += more[self.order]
        return csc_array((data, rows, starts), shape=(self.size,) * 2)

    def with_diagonal(self, matrix: csc_array, more: Float[Array, " nodes"]) -> csc_array:
        """``matrix`` with ``more`` (S) added to its diagonal."""
        data = matrix.data.copy()
        data[self.stencil[3]] += more[self.order]
        return csc_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)

    def unordered(self, values: Float[Array, "batch nodes"]) -> Float[Array, "batch nodes"]:
        """Values that are in ``order``, in the order of the nodes."""
        found = np.empty_like(values)
        found[:, self.order] = values
        return found

    def followed(self, follow: Float[Array, "*batch hidden"]) -> Float[Array, "*batch ends"]:
        """Slope of each end with respect to its node: 1 for nodes, ``follow`` for drives, 0 for input rows."""
        found = np.zeros((*follow.shape[:-1], self.all_ends))
        found[..., : self.size] = 1.0
        found[..., self.size : self.size + self.hidden] = follow
        return found

    def steps(
        self, volts: Float[Array, "batch nodes"], follow: Float[Array, "batch hidden"]
    ) -> Float[Array, "batch ends"]:
        """P: changes of the end voltages when the node voltages change by ``volts``, volts."""
        moved = np.zeros((len(volts), self.all_ends))
        moved[:, : self.size] = volts
        moved[:, self.size : self.size + self.hidden] = follow * volts[:, : self.hidden]
        return moved

    def factors(self, matrix: csc_array) -> Any:
        """SuperLU factors of ``matrix`` with pivots on its diagonal."""
        return splu(matrix, permc_spec="NATURAL", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def solved(
        self, factors: Any, currents: Float[Array, " nodes"], *, transposed: bool = False
    ) -> Float[Array, " nodes"]:
        """Response of the nodes to ``currents`` into them (A), volts; ``transposed``: with the transposed matrix."""
        found = np.empty(self.size)
        found[self.order] = factors.solve(np.ascontiguousarray(currents[self.order]), "T" if transposed else "N")
        return found


def assembled(
    crossbars: tuple[DrivenCrossbar, ...], nodes: tuple[tuple[str, ...], ...], returns: Float[Array, " hidden"]
) -> Assembly:
    """The branches of ``crossbars`` between layers whose nodes have the given names."""
    names = [name for layer in nodes for name in layer]
    hidden, rows = len(returns), crossbars[0].rows
    starts = np.cumsum((0, *map(len, nodes)))
    banks: list[tuple[Array, Array, Array]] = []
    cells: list[tuple[int, Array, Array]] = []
    from_drive = []
    for number, crossbar in enumerate(crossbars, start=1):
        first = len(names)
        count = rows if number == 1 else len(nodes[number - 2])
        drives = -1 - np.arange(count) - (hidden if number == 1 else int(starts[number - 2]))
        from_drive.append(drives)
        ports = drives.copy()
        behind = np.flatnonzero(crossbar.resistance)
        if behind.size:
            names += [f"r{number}_{i}" for i in behind.tolist()]
            ports[behind] = first + np.arange(behind.size)
            banks.append((drives[behind], ports[behind], 1 / crossbar.resistance[behind]))
        columns = int(starts[number - 1]) + np.arange(crossbar.columns)
        row, column = np.nonzero(crossbar.conductance)
        if crossbar.wired.wire_resistance:
            on_rows, on_columns = (
                len(names) + k * crossbar.cells + np.arange(crossbar.cells).reshape(crossbar.conductance.shape)
                for k in (0, 1)
            )
            names += [f"w{number}{side}_{i}_{j}" for side in "rc" for i, j in np.ndindex(crossbar.conductance.shape)]
            banks += _segments(crossbar, on_rows, on_columns, ports, columns)
            one, other = on_rows[row, column], on_columns[row, column]
        else:
            one, other = ports[row], columns[column]
        cells.append((len(banks), row, column))
        banks.append((one, other, crossbar.conductance[row, column]))
    # Drives and rows follow the nodes, whose number is known now: drive j was -1 - j, row i was -1 - hidden - i.
    ends = np.concatenate([np.stack([one, other], axis=1) for one, other, _ in banks])
    ends = np.where(ends < 0, len(names) - 1 - ends, ends)
    begins = np.cumsum([0, *(len(each[0]) for each in banks)])
    places = tuple(np.stack([begins[bank] + np.arange(len(i)), i, j], axis=1) for bank, i, j in cells)
    return Assembly(tuple(names), hidden, rows, ends, np.concatenate([each[2] for each in banks]), places, returns)


def _segments(
    crossbar: DrivenCrossbar, on_rows: Array, on_columns: Array, ports: Array, columns: Array
) -> Iterator[tuple[Array, Array, Array]]:
    """(one end, other end, siemens) of all wire segments, tile by tile."""
    wired = crossbar.wired
    inner, end = 1 / wired.wire_resistance, 1 / (wired.wire_resistance + wired.link_resistance)
    for some, others in wired.tiles():
        along, down = on_rows[some, others], on_columns[some, others]
        left = np.concatenate([ports[some][:, None], along[:, :-1]], axis=1)
        below = np.concatenate([down[1:], columns[others][None]], axis=0)
        siemens = np.full(along.shape, inner)
        siemens[:, 0] = end
        yield left.ravel(), along.ravel(), siemens.ravel()
        siemens = np.full(down.shape, inner)
        siemens[-1] = end
        yield down.ravel(), below.ravel(), siemens.ravel()
