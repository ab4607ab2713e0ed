"""pgmdsl: a small language for energy-based layered models."""
