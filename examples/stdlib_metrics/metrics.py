"""The work: read one Python file and measure it. Nothing here knows of Elsewhere."""

import ast
import warnings
from pathlib import Path
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


def measure(path: str) -> dict[str, Any]:
    """Counts of one module. SyntaxError when it is not Python."""
    source = Path(path).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old escapes in the library's tests are not what we are after
        tree = ast.parse(source, filename=path)

    functions = classes = branches = longest = 0
    name = ""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            functions += 1
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > longest:
                longest, name = length, node.name
        elif isinstance(node, ast.ClassDef):
            classes += 1
        elif isinstance(node, BRANCHES):
            branches += 1
    return {
        "lines": source.count(b"\n") + 1,
        "functions": functions,
        "classes": classes,
        "branches": branches,
        "longest": longest,
        "longest_name": name,
    }
