"""Searchers propose configs."""
