"""The commands, a module each, read only when the command is asked for (`gateway/cli.py`)."""
