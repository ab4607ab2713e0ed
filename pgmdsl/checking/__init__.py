"""Emitted kernels compared with the declared energy, by a path that shares nothing with their derivation."""
