"""A link to a term says what the term means, and a citation which work it
names, while the pointer or the focus of the keyboard is on it.

Each explanation is hidden text at a page's end. The link names it as its
description, which a screen reader reads out, and on_hover.js shows it.
"""

import re
from html import escape, unescape

from docutils import nodes

LINK = re.compile(
    r'<a class="reference internal" '
    r'href="[^"#]*(?P<page>glossary|references)\.html#(?P<anchor>[\w-]+)"'
    r'(?: title="(?P<title>[^"]*)")?'
)
GLOSSARY = "book/glossary"


def definitions(app):
    """Return what the glossary says: {anchor: (term, Chinese name, HTML)}."""
    glossary = app.env.get_and_resolve_doctree(GLOSSARY, app.builder)
    # An explanation is to be read; its links are on the glossary's page.
    for link in [*glossary.findall(nodes.reference)]:
        link.replace_self(link.children)
    found = {}
    for term in glossary.findall(nodes.term):
        text = term.parent.next_node(nodes.paragraph).deepcopy()
        chinese = ""
        if isinstance(text[0], nodes.emphasis):
            chinese = text.pop(0).astext().rstrip(".")
        html = app.builder.render_partial(text)["fragment"].strip()
        html = html.removeprefix("<p>").removesuffix("</p>").strip()
        for anchor in term["ids"]:
            found[anchor] = (term.astext(), chinese, html)
    return found


def explanation(anchor, html, term="", chinese=""):
    """Write what a link's description is."""
    name = ""
    if term:
        name = f'<p class="on-hover-name">{escape(term)}'
        name += f' <span lang="zh-Hans">{chinese}</span></p>\n'
    return (
        f'<div class="on-hover" role="tooltip" hidden>\n{name}'
        f'<p id="about-{anchor}">{html}</p>\n</div>\n'
    )


def add_to_page(app, pagename, templatename, context, doctree):
    """Describe the links of a page that need it."""
    if app.builder.format != "html" or "body" not in context:
        return
    if not hasattr(app, "definitions"):
        app.definitions = definitions(app)
    explained = {}

    def describe(found):
        anchor = found["anchor"]
        if found["page"] == "glossary":
            term, chinese, html = app.definitions[anchor]
            explained[anchor] = explanation(anchor, html, term, chinese)
        elif found["title"]:
            html = escape(unescape(found["title"]), quote=False)
            explained[anchor] = explanation(anchor, html)
        else:
            return found[0]
        return f'{found[0]} aria-describedby="about-{anchor}"'

    body = LINK.sub(describe, context["body"])
    if explained:
        context["body"] = body + "".join(explained.values())
        app.add_css_file("on_hover.css")
        app.add_js_file("on_hover.js", loading_method="defer")


def setup(app):
    app.connect("html-page-context", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
