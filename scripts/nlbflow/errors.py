"""The error class for faults that a user can mend."""


class NlbflowError(Exception):
    """A fault in the config, in a file or in a model, described in one sentence.

    The sentence says what was expected, what was found and what to do, and names the file or the config key. Code
    that catches it prints the sentence alone. Every other exception is a fault of nlbflow and keeps its traceback.
    """


def values_that_are(count: int) -> str:
    """The beginning of a sentence on so many values of an array."""
    return "1 value that is" if count == 1 else f"{count:,} values that are"
