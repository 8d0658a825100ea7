"""The command line: ``asynctune COMMAND``."""

from asynctune.cli.main import main as main
