"""Parses PowerShell on stdin: prints each syntax error, and exits with 1 if there is one."""
import sys

import tree_sitter
import tree_sitter_powershell


def errors(node):
    if node.type == "ERROR" or node.is_missing:
        yield node
    for child in node.children:
        yield from errors(child)


parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
tree = parser.parse(sys.stdin.buffer.read())
found = list(errors(tree.root_node))
for node in found:
    print(f"line {node.start_point[0] + 1}: {node.type} {node.text[:80]!r}", file=sys.stderr)
sys.exit(1 if found or tree.root_node.has_error else 0)
