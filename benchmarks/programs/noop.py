"""The task that does nothing."""


def f(x, name):
    return None


def one(x):
    return x
