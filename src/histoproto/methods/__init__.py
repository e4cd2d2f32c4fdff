"""One file per method: which network, which losses, which stages. `registry.py` knows their names."""
