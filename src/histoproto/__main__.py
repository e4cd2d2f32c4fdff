"""`python -m histoproto`: the command line."""

from histoproto.cli import main

if __name__ == "__main__":
    main()
