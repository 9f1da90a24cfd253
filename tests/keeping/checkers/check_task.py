"""Checks a task of the Task Scheduler on stdin against task.xsd: prints each problem, and exits with 1 if there is one."""
import pathlib
import sys

from lxml import etree

schema = etree.XMLSchema(etree.parse(pathlib.Path(__file__).with_name("task.xsd")))
try:
    task = etree.fromstring(sys.stdin.buffer.read())
except etree.XMLSyntaxError as error:
    sys.exit(f"not well-formed: {error}")
schema.validate(task)
for problem in schema.error_log:
    print(f"line {problem.line}: {problem.message}", file=sys.stderr)
sys.exit(0 if not len(schema.error_log) else 1)
