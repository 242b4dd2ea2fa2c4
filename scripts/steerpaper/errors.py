"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """Bad input: the message names the file and line or the configuration key, and the way out.

    A script prints the message alone, without a traceback, and exits with status 1.
    """
