"""Usage and export, for managers."""
