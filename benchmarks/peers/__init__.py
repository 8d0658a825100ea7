"""Other optimizers, each in an environment and a process of its own, asked over pipes."""
