"""Why a development stack cannot start, in words for the person at the terminal."""


class CannotStartError(Exception):
    """One line that says what is wrong and what to do; shown without a traceback."""
