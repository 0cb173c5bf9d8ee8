"""A docstring as MyST's Markdown: its words, and what it says of arguments."""

import re

from package_names import public_address

# Sentences that get a label of their own, beside Args.
LABELLED = re.compile(r"(?:^|(?<=\. ))(Raises|Returns|Source:|Shapes:) ")

# What is code in a docstring, besides what stands in backticks: a shape such as
# (b, h*w, dim) -> (b, dim), a word in quotes, a dict in words, an exception.
ENTRY = r"[\w*/+.]+(?: [*+/] [\w*/+]+)*"
SHAPE = rf"\({ENTRY},(?: {ENTRY}(?:, {ENTRY})*,?)?\)"
CODE = re.compile(
    r"`([^`]+)`"
    rf"|({SHAPE}(?: -> {SHAPE})*"
    r"""|"[\w./-]+"|\{[^{}]*(?:\{[^{}]*\})?[^{}]*\}|\b[A-Z]\w+Error\b)"""
    r"|\b([A-Z][A-Z_]{3,})\b"
)


def taken_apart(docstring):
    """Return a docstring's paragraphs and its rows: (term, descriptions)."""
    paragraphs, rows, ends = [], [], []
    for section in docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            for paragraph in section.value.split("\n\n"):
                text, labelled = without_labels(paragraph)
                paragraphs += [text] if text else []
                ends += labelled
        elif kind == "parameters":
            for each in section.value:
                names = [f"`{name}`" for name in each.name.split(", ")]
                rows.append((", ".join(names), [each.description]))
        elif kind == "raises":
            errors = [
                f"{each.annotation}: {each.description}"
                for each in section.value
            ]
            ends.append(("*Raises*", errors))
        else:  # Returns, Yields
            texts = [each.description for each in section.value]
            ends.append((f"*{kind.capitalize()}*", texts))
    return paragraphs, rows + ends


def without_labels(paragraph):
    """Write a paragraph as Markdown, without the sentences that have a label:
    (text, rows)."""
    if paragraph.startswith("    "):
        code = re.sub("^    ", "", paragraph, flags=re.M)
        return f"```python\n{code}\n```", []
    text, *parts = LABELLED.split(" ".join(paragraph.split()))
    rows = [
        (f"*{label.removesuffix(':')}*", [described])
        for label, described in zip(parts[::2], parts[1::2], strict=True)
    ]
    return inline(text.strip()), rows


def inline(text):
    """Write a docstring's words as Markdown: code as code, links to names."""
    text, written, end = " ".join(text.split()), "", 0
    for match in CODE.finditer(text):
        quoted, code, constant = match.groups()
        name = quoted or constant
        address = name and public_address(name)
        if constant and not address:
            continue
        written += escaped(text[end : match.start()])
        written += (
            f"{{py:obj}}`{name} <{address}>`"
            if address
            else f"`{quoted or code}`"
        )
        end = match.end()
    return written + escaped(text[end:])


def escaped(text):
    """Let Markdown read every letter as itself."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
