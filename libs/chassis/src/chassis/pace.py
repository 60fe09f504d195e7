"""When a busy process gathers before it goes on, so that it makes fewer and larger batches."""

_MANY = 8
_TIMES_AS_LONG = 5
_LONGEST_SECONDS = 0.2


def rest(count: int, took: float) -> float:
    """Seconds to gather after a batch of so many that took so long and left nothing behind.

    A batch costs the database, the broker and every consumer nearly the same, whether it holds one
    event or fifty. A batch of few means that there is little to do: what comes is handled at once.
    Of many, the busier the machine the longer it took, and the more is gathered for the next.
    """
    return min(took * _TIMES_AS_LONG, _LONGEST_SECONDS) if count >= _MANY else 0.0
