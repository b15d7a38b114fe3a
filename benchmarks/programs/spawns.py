"""posix_spawn from Python, two at a time: what stands in for the C loop where there is no compiler."""

import os
import sys

n, width, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
running = 0
for _ in range(n):
    if running == width:
        os.wait()
        running -= 1
    os.posix_spawn(program, [program], os.environ)
    running += 1
while running:
    os.wait()
    running -= 1
