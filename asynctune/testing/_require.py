"""The one way in which the kit complains."""


def require(condition: object, rule: str) -> None:
    """Raise an `AssertionError` that names the rule if the condition does not hold."""
    if not condition:
        raise AssertionError(rule)
