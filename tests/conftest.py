"""What all tests have in common."""

import signal

# Started in the background, a shell's children ignore Ctrl-C, and some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
