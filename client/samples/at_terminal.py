#!/usr/bin/python3
"""at_terminal.py TEXT LINE COMMAND... - runs a command at a terminal of its own
and types LINE once TEXT is on it, as a person would. For tests: the PIN of the
virtual card is public."""

import os
import pty
import select
import sys
import time

text, line, command = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
shown, typed, end = b"", False, time.monotonic() + 60
while time.monotonic() < end:
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        piece = os.read(terminal, 4096)
    except OSError:  # the command has ended
        break
    shown += piece
    sys.stdout.buffer.write(piece)
    sys.stdout.flush()
    if not typed and text in shown:
        os.write(terminal, line + b"\r")
        typed = True
else:
    sys.exit("at_terminal: it did not end within a minute")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
