"""From an energy function to a circuit: graph of nets and devices, validation, SPICE text."""

from eqprop_analog.circuit.graph import Circuit
from eqprop_analog.circuit.netlist import metered_netlist, static_netlist, sweep_netlist, transient_netlist
from eqprop_analog.circuit.resistive import compile_network

__all__ = ["Circuit", "compile_network", "metered_netlist", "static_netlist", "sweep_netlist", "transient_netlist"]
