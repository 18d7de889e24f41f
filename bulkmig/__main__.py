"""`python -m bulkmig`: the same as the command `bulkmig`."""

from bulkmig.cli import main

if __name__ == "__main__":
    main()
