"""asynctune: asynchronous hyperparameter tuning, real or simulated under virtual time."""
