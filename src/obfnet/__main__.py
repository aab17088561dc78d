"""`python -m obfnet` is the command `obfnet`."""

from obfnet.cli.main import main

if __name__ == "__main__":
    main()
