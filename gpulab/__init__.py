"""GPU deep learning for Galaxy: datasets, training, prediction."""

__version__ = "0.1.0"
