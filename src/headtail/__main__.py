"""`python -m headtail`."""

from headtail.cli import main

if __name__ == "__main__":
    main()
