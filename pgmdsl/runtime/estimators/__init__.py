"""Estimators: log Z, expectations, log-probabilities and their bounds, exactly or with error bars."""
