"""Backends run trials."""
