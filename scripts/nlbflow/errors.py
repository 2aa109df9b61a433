"""The one error class that a user can do something about."""


class NlbflowError(Exception):
    """A fault in the config, in a file or in a model, told in one sentence.

    The sentence says what was expected, what was found and what to do, and names the file or the config key. Whoever
    catches it prints the sentence alone; every other exception is a fault of nlbflow and keeps its traceback.
    """
