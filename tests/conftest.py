"""What holds for every test."""

import signal

# A shell that starts this in the background lets it ignore Ctrl-C, and with it all processes that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
