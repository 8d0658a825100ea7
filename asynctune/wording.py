"""Numbers in words, for people."""


def readable_time(seconds: float) -> str:
    """Return a duration in readable units: "8 s", "4 min 12 s", "1 h 03 min"."""
    if seconds < 10:
        return f"{round(seconds, 1):g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60:02} s" if whole % 60 else "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h" + (f" {minutes % 60:02} min" if minutes % 60 else "")


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: "1 worker", "2 workers"; `many` if it is irregular."""
    return f"{n} {one}" if n == 1 else f"{n} {many or one + 's'}"
