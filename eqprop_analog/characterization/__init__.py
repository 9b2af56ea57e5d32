"""From measured or simulated curves of a device to its constitutive law: reading, fitting, tabulating, device files."""
