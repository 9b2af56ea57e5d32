"""Time spent on compilation in this process, which is excluded from the training time."""

_seconds = 0.0


def add(seconds: float) -> None:
    """Add ``seconds`` of compilation."""
    global _seconds  # noqa: PLW0603 - one clock for the process
    _seconds += seconds


def total() -> float:
    """Return the seconds of compilation in this process so far."""
    return _seconds
