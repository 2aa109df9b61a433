"""Before a run is resumed: refuse while a live run holds the folder, and set aside damaged files, to be made anew."""

import sys
from pathlib import Path

from nlbflow.errors import NlbflowError
from nlbflow.running.folder import hold_folder
from nlbflow.running.checksums import set_aside_damaged

if __name__ == "__main__":
    try:
        hold_folder()
    except NlbflowError as error:
        sys.exit(f"nlbflow: {error}")
    set_aside_damaged([Path("data"), Path("results")], log=print)
