"""The entry point: commands are found by name and imported when they are called."""

import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, Final

import click

from asynctune.exceptions import AsynctuneError, AsynctuneWarning
from asynctune.files import tells_of_no_room
from asynctune.plugins import load_plugin, plugin_names

_COMMANDS: Final = {
    "study": "asynctune.cli.study:study",
    "run": "asynctune.cli.run:run",
    "plot": "asynctune.cli.show:plot",
    "table": "asynctune.cli.show:table",
    "findings": "asynctune.cli.show:findings",
    "explain": "asynctune.cli.show:explain",
    "curves": "asynctune.cli.curves:curves",
    "logs": "asynctune.cli.logs:logs",
    "list": "asynctune.cli.show:list_plugins",
}
_FURTHER: Final = "asynctune.commands"  # the entry points of commands of other packages
_BAD_INPUT: Final = 2
_INTERRUPTED: Final = 130


class _Commands(click.Group):
    """A group whose commands are imported only when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return [*_COMMANDS, *(n for n in plugin_names(_FURTHER) if n not in _COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        command: click.Command
        if cmd_name in _COMMANDS:
            module, name = _COMMANDS[cmd_name].split(":")
            command = getattr(import_module(module), name)
        elif cmd_name in plugin_names(_FURTHER):
            command = load_plugin(_FURTHER, "command", cmd_name)
        else:
            return None
        return command


def _with_hyphens(name: str) -> str:
    """Let every flag be written with underscores as well."""
    return name.replace("_", "-")


@click.group(
    cls=_Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _with_hyphens,
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.version_option(package_name="asynctune")
def commands() -> None:
    """Asynchronous hyperparameter tuning, real or simulated under virtual time."""


def main() -> None:
    """Run the command line; bad input gets one line and exit status 2."""
    show = warnings.showwarning
    warnings.showwarning = partial(_warn, show)
    try:
        commands(prog_name="asynctune", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(_BAD_INPUT)
    except click.ClickException as error:
        _fail(error.format_message(), _BAD_INPUT)
    except AsynctuneError as error:
        _fail(str(error), _BAD_INPUT)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; the same command goes on where this one ended", _INTERRUPTED)
    except BrokenPipeError:
        sys.exit(1)
    except Exception as error:
        if not tells_of_no_room(error):
            raise
        _fail(f"the disk is full; when there is room, the same command goes on ({error})", 1)
    finally:
        warnings.showwarning = show


def _warn(show: Callable[..., None], message: Warning | str, *how: Any) -> None:  # noqa: ANN401
    """Say in a line what asynctune warns of, and all else as it is."""
    if isinstance(message, AsynctuneWarning):
        click.echo(f"asynctune: {' '.join(str(message).split())}", err=True)
    else:
        show(message, *how)


def _fail(message: str, status: int) -> None:
    click.echo(f"asynctune: {' '.join(message.split())}", err=True)
    sys.exit(status)
