"""Simulation of tuning experiments: blackboxes, cluster profiles and benchmarks."""
