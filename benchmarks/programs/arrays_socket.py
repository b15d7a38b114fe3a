"""A numpy array there and back over a socket to a forked process: out of band, or pickled into one string.

Prints {"seconds": median of three, after one to warm up}. Nothing is recorded, checked or kept.
"""

import json
import os
import pickle
import socket
import statistics
import struct
import sys
from time import perf_counter

import cloudpickle
import numpy

SIZE = struct.Struct("<Q")


def send(to, value, in_band):
    buffers = []
    head = cloudpickle.dumps(value) if in_band else pickle.dumps(value, 5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    to.sendall(SIZE.pack(len(parts)) + b"".join(SIZE.pack(part.nbytes) for part in parts))
    for part in parts:
        to.sendall(part)


def exactly(there, size):
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        rest = rest[there.recv_into(rest) :]
    return data


def receive(there):
    count = SIZE.unpack(exactly(there, 8))[0]
    sizes = [SIZE.unpack(exactly(there, 8))[0] for _ in range(count)]
    head, *buffers = [exactly(there, size) for size in sizes]
    return pickle.loads(head, buffers=buffers)


def main(size, how):
    in_band = how == "in-band"
    near, far = socket.socketpair()
    if os.fork() == 0:
        near.close()
        for _ in range(4):
            send(far, receive(far), in_band)
        os._exit(0)
    array = numpy.random.default_rng(1).random(int(size) // 8)
    took = []
    for _ in range(4):
        began = perf_counter()
        send(near, array, in_band)
        back = receive(near)
        took.append(perf_counter() - began)
        assert back[-1] == array[-1] and len(back) == len(array)
    os.wait()
    print(json.dumps({"seconds": statistics.median(took[1:])}))


main(*sys.argv[1:])
