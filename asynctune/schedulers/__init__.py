"""Schedulers decide which trial runs."""
