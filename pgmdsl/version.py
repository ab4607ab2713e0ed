"""The version of pgmdsl, written into every kernel file and run."""

VERSION = "0.1.0"
