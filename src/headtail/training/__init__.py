"""One visible loop and what it stands on; see loop.py."""
