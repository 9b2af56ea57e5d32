"""The devices of a resistive network's flat netlist, read back."""
