"""Runs a command inside a network namespace of the lab: `python -m monitor.lab.enter NETNS [--die-with PID] -- command...`"""

import os
import sys

from monitor.lab.namespaces import LabError, die_with, enter
from monitor.language import here

_USAGE = "usage: python -m monitor.lab.enter NETNS [--die-with PID] -- COMMAND..."


def main(arguments: list[str]) -> int:
    """Becomes the command; returns only where it cannot. --die-with: the command is killed when that parent ends."""
    if "--" not in arguments or arguments.index("--") not in (1, 3):
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    split = arguments.index("--")
    options, command = arguments[:split], arguments[split + 1 :]
    if not command or (len(options) == 3 and (options[1] != "--die-with" or not options[2].isdigit())):
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    try:
        enter(options[0])
        if len(options) == 3:
            die_with(int(options[2]))
        os.execvp(command[0], command)
    except (LabError, OSError) as error:
        sys.stderr.write(f"{here().said(error)}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
