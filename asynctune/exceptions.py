"""Every error that asynctune raises on purpose, in one place.

Each message states the rule and the offending value. The command line turns a
`UsageError` into one line and exit status 2.
"""


class AsynctuneError(Exception):
    """Root of all errors raised by asynctune."""


class AsynctuneWarning(UserWarning):
    """Something goes on that is probably not as it was meant."""


class UsageError(AsynctuneError, ValueError):
    """The input breaks a rule; the message names the rule and the offending value."""


def check_type(name: str, value: object, wanted: type) -> None:
    """Raise a UsageError if a setting is not of its type; a whole number will do as a float."""
    known = (int, float) if wanted is float else wanted
    if not isinstance(value, known) or (isinstance(value, bool) and wanted is not bool):
        raise UsageError(f"{name} must be of type {wanted.__name__}; got {value!r}")


class SpaceError(UsageError):
    """A config space or a config is not valid."""


class NoResultError(AsynctuneError):
    """A tuning run is over, and no trial has reported a value.

    Attributes:
        result: What there is of it all the same, a `Tuned`.
    """

    def __init__(self, message: str, result: object) -> None:
        super().__init__(message, result)
        self.result = result

    def __str__(self) -> str:
        """Return the message."""
        return str(self.args[0])


class JournalError(AsynctuneError):
    """A journal cannot be read, or does not belong to the experiment at hand."""


class IllegalEventError(AsynctuneError):
    """An event that no trial in its present state can have; the state was left as it was.

    Attributes:
        trial: The trial's number.
        story: What happened to the trial so far, one entry a transition.
    """

    def __init__(self, message: str, trial: int, story: tuple[str, ...] = ()) -> None:
        super().__init__(message, trial, story)
        self.trial = trial
        self.story = story

    def __str__(self) -> str:
        """Return the message followed by the trial's story."""
        message, trial, story = self.args
        return f"{message} (trial {trial}: {' -> '.join(story) if story else 'never seen'})"


class VirtualTimeError(AsynctuneError):
    """Something that virtual time cannot include was asked for, or nothing is left to wait for."""


class DeadlockError(VirtualTimeError):
    """Nothing is ready and no timer is set: the simulation would wait forever."""
