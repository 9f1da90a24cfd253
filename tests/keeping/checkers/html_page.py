"""Reads an HTML page on stdin with Python's own parser and writes what it found as JSON: what is not well formed, what would
be fetched or run, the text, and how often each tag and class is there."""

import json
import sys
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input", "source", "area", "base", "col", "embed", "track", "wbr"}
FETCHES = {"src", "href", "xlink:href", "action", "data", "poster", "srcset", "formaction", "background", "cite", "ping"}
RUNS = {"script", "iframe", "object", "embed", "link", "img", "base", "form", "video", "audio", "use", "image"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.problems, self.foreign, self.text = [], [], [], []
        self.tags, self.classes = Counter(), Counter()
        self.style = ""

    def look(self, tag, attributes):
        self.tags[tag] += 1
        names = [name for name, _ in attributes]
        if len(names) != len(set(names)):
            self.problems.append(f"{tag} has an attribute twice at {self.getpos()}")
        if tag in RUNS:
            self.foreign.append(tag)
        for name, value in attributes:
            if name in FETCHES or name.startswith("on") or "url(" in (value or ""):
                self.foreign.append(f"{tag} {name}={value}")
            if name == "class":
                self.classes.update((value or "").split())

    def handle_starttag(self, tag, attributes):
        self.look(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.look(tag, attributes)

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.problems.append(f"</{tag}> within {self.open[-3:]} at {self.getpos()}")
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text.append(data)


page = Page()
page.feed(sys.stdin.buffer.read().decode("utf-8", errors="strict"))
page.close()
if page.open:
    page.problems.append(f"never closed: {page.open}")
if "url(" in page.style or "@import" in page.style or "://" in page.style:
    page.foreign.append("style")
json.dump(
    {
        "problems": page.problems,
        "foreign": page.foreign,
        "text": " ".join(" ".join(page.text).split()),
        "tags": page.tags,
        "classes": page.classes,
    },
    sys.stdout,
)
