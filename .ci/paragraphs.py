"""One line a paragraph in a chapter's Markdown, so that a diff shows the paragraph that changed."""

import re

from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser
from myst_parser.parsers.sphinx_ import SphinxRenderer

# As in _config.yml: what may stand between two paragraphs.
EXTENSIONS = {"amsmath", "colon_fence", "deflist", "dollarmath", "substitution"}
PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), SphinxRenderer)


def join_lines(markdown: str) -> str:
    """Write every paragraph in one line; equations, tables, code and headings stay as they are.

    Paragraphs in lists and directives are joined, too. In a block quote, and behind a line that
    ends in a hard break, the lines stay.
    """
    lines = markdown.split("\n")
    quoted = 0
    for token in reversed(PARSER.parse(markdown)):  # from the end: the numbers before it stay valid
        if token.type in ("blockquote_open", "blockquote_close"):
            quoted += 1 if token.type == "blockquote_close" else -1
        elif token.type == "paragraph_open" and not quoted:
            first, end = token.map
            lines[first:end] = joined(lines[first:end])
        elif token.type == "colon_fence" and not token.info.startswith("{math}"):
            first, end = token.map[0] + 1, token.map[1] - 1
            while first < end and re.match(r":\w+:", lines[first]):  # its options, one a line
                first += 1
            lines[first:end] = join_lines("\n".join(lines[first:end])).split("\n")
    return "\n".join(lines)


def joined(lines: list[str]) -> list[str]:
    whole = [lines[0]]
    for line in lines[1:]:
        if whole[-1].endswith(("  ", "\\")):  # a hard break
            whole.append(line)
        else:
            whole[-1] = f"{whole[-1].rstrip()} {line.lstrip()}"
    return whole
