"""Time that a compiler has taken in this process: it is no part of the time that training takes."""

_seconds = 0.0


def add(seconds: float) -> None:
    """Count ``seconds`` of compilation."""
    global _seconds  # noqa: PLW0603 - one clock for the process
    _seconds += seconds


def total() -> float:
    """Seconds of compilation in this process so far."""
    return _seconds
