"""Commands of ``asynctune`` that make and use tables of recorded curves."""
