"""Reading of ngspice's netlists: statements, expressions and devices of a netlist."""
