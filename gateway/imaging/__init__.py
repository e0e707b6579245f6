"""Pictures and measurements out of data sets; no sockets, no database."""
