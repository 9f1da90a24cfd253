"""Runs a program at a terminal of its own and answers its questions.

    terminal.py STEPS PROGRAM ARGS...

STEPS is JSON: a list of [expected, answer]. Each answer is sent, as it is, once the expected text has come after the one
before. Everything that the program shows goes to stdout; its exit code is handed on. A text that never comes ends it with 99.
"""

import fcntl
import json
import os
import pty
import struct
import sys
import termios

steps = json.loads(sys.argv[1])
pid, master = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))

shown, seen = "", 0
raw = b""
while True:
    try:
        piece = os.read(master, 65536)
    except OSError:  # EIO: nobody holds the other end any more
        break
    if not piece:
        break
    os.write(1, piece)
    raw += piece
    shown = raw.decode(errors="replace")
    while steps and (at := shown.find(steps[0][0], seen)) >= 0:
        seen = at + len(steps[0][0])
        os.write(master, steps.pop(0)[1].encode())

_, status = os.waitpid(pid, 0)
if steps:
    print(f"\nthis never came: {steps[0][0]!r}")
    sys.exit(99)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
