"""Bytes on the wire and the plain values they stand for. No sockets here; docs/protocol.md is the
specification.
"""
