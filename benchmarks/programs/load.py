"""Reading a whole task list at once: json.load, or PyYAML's loader in C; or that loader on 500 tasks at a time."""

import json
import sys


def main(how, path):
    with open(path) as file:
        if how == "json":
            json.load(file)
        elif how == "yaml":
            import yaml

            yaml.load(file, yaml.CSafeLoader)
        else:
            import yaml

            held, begun = [], 0
            for line in file:
                begun += line.startswith("- ")
                if begun > 500:
                    yaml.load("".join(held), yaml.CSafeLoader)
                    held, begun = [], 1
                held.append(line)
            yaml.load("".join(held), yaml.CSafeLoader)


main(*sys.argv[1:])
