"""The `elsewhere` command: one module a command, loaded when it is typed.

Words in, lines out; all work is asked of session, config and observe. Nothing may import this package.
"""
