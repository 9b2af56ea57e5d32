"""What ngspice reads: statements, expressions and devices of a netlist."""
