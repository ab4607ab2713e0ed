"""The language: text to syntax tree, the formatter, diagnostics. Knows nothing of probability."""
