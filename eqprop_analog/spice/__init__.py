"""From devices and nets to SPICE text, and back."""
