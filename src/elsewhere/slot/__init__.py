"""The child process in which tasks run, one at a time: the user's interpreter, warm, on the far side of a pipe.

Python 3.9 syntax and the standard library only, and little of that: an idle slot stays under 20 MB.
"""
