"""What is trained as a function; a module of its own, for each attempt imports it."""

import sys
import time

LEVELS = 9


def trained(x, seconds):
    """Yield what the steady script reports, without checkpoints."""
    del seconds
    for epoch in range(1, LEVELS + 1):
        yield {"loss": (x - 0.3) ** 2 + 1 / epoch}


def prints(x, seconds):
    """Print much, and progress bars, between its reports."""
    from asynctune import report

    del x, seconds
    for epoch in range(1, LEVELS + 1):
        sys.stdout.write("x" * 200_000)
        sys.stderr.write(f"\r{epoch} of {LEVELS}" * 1000)
        report(epoch=epoch, loss=1 / epoch)


def returns(x, seconds):
    """Train to the end and return the result."""
    del seconds
    return {"loss": x, "note": "a text is no metric"}


def yields_numbers(x, seconds):
    """Yield what is no dict."""
    del seconds
    yield x


def misses(y):
    """Know no x."""
    return {"loss": y}


def raises_sometimes(x, seconds):
    """Fail in half of the cases."""
    if x < 0.5:
        raise ArithmeticError(f"no luck with {x}")
    return trained(x, seconds)


def diverges(x, seconds):
    """Return no finite value."""
    del x, seconds
    return {"loss": float("nan")}


def raises(x, seconds):
    """Fail."""
    raise ArithmeticError(f"no luck with {x}")


def resumes(x, seconds):
    """Go on from a checkpoint, if there is one."""
    from asynctune import checkpoint_dir

    path = checkpoint_dir() / "epoch"
    begin = int(path.read_text()) if path.exists() else 0
    for epoch in range(begin + 1, LEVELS + 1):
        time.sleep(seconds)
        part = path.with_name("part")  # so that whoever is killed leaves a whole one
        part.write_text(str(epoch))
        part.replace(path)
        yield {"loss": (x - 0.3) ** 2 + 1 / epoch}
