"""gemel: a private cloud on two sites that share one witness."""

__version__ = "0.1.0"
