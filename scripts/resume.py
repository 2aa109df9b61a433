"""Before a resume: refuse while a live run holds the folder; otherwise say that it is free (exit code 0)."""

import sys

from nlbflow.errors import NlbflowError
from nlbflow.folder import hold_folder

if __name__ == "__main__":
    try:
        hold_folder()
    except NlbflowError as error:
        sys.exit(f"nlbflow: {error}")
