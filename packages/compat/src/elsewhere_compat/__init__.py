"""Nothing but a name: the commands of this distribution are those of `elsewhere.compat`."""
