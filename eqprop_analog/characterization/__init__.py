"""From measured or simulated curves of one device to its constitutive law: reading, fitting, tabulating, device files."""
