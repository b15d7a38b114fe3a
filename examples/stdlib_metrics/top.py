"""Reads results (JSON lines) from standard input and prints the ten largest modules."""

import json
import sys


def main(count: int = 10) -> None:
    done = [line for line in map(json.loads, sys.stdin) if line["state"] == "succeeded"]
    done.sort(key=lambda line: line["result"]["lines"], reverse=True)
    print(f"{'module':<40}{'lines':>7}{'functions':>11}{'classes':>9}{'branches':>10}  longest function")
    for line in done[:count]:
        r = line["result"]
        longest = f"{r['longest_name']} ({r['longest']} lines)" if r["longest"] else "-"
        print(
            f"{line['task_id']:<40}{r['lines']:>7}{r['functions']:>11}{r['classes']:>9}{r['branches']:>10}  {longest}"
        )
    lines, functions = (sum(line["result"][key] for line in done) for key in ("lines", "functions"))
    print(f"\n{len(done)} modules measured: {lines} lines, {functions} functions")


if __name__ == "__main__":
    main()
