"""Syntax tree to checked model, derivation, proofs, kernel IR and Numba source."""
