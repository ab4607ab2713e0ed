"""Kernels loaded and run: parameters, chains, training, estimators, data, checkpoints."""
