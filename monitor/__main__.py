"""`python -m monitor`: the command without its name on the path."""

from monitor.cli import main

if __name__ == "__main__":
    main()
