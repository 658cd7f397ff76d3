"""Arithmetic on arrays: compiled functions that know nothing of streams, files or sockets."""
