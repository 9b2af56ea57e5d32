"""Reading of the devices in the flat netlist of a resistive network."""
