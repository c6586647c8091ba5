"""One function a verb: what the command line calls, and what a notebook can call as well."""
