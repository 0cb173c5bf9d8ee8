"""What a link to a page shows where it is pasted: title, description, image.

The image needs an absolute address, so it is named only where the site's own is
known (`html: baseurl` in _config.yml).
"""

import re
from html import escape, unescape
from urllib.parse import urljoin

from docutils import nodes

IMAGE = "_static/sneaker.png"  # made by .ci/sneaker.py
SIZE = (1200, 630)  # pixels
LONGEST = 200  # letters of a description


def description(doctree):
    """Return a page's first sentences, as many as fit; "" if it has none."""
    paragraphs = [
        " ".join(paragraph.astext().split())
        for paragraph in doctree.findall(nodes.paragraph)
        if isinstance(paragraph.parent, nodes.section)
    ]
    text = re.sub(
        r" \[[^\]]* \d{4}\w?\]", "", " ".join(paragraphs)
    )  # citations
    fitting = ""
    for sentence in re.split(r"(?<=[.?!]) ", text):
        if len(fitting) + len(sentence) >= LONGEST:
            break
        fitting = f"{fitting} {sentence}".strip()
    return fitting or text[:LONGEST].rpartition(" ")[0]


def tags(title, about, book, site, page):
    """Return the tags of a page's head; `site` is "" without an address."""
    width, height = SIZE
    properties = {
        "og:title": title,
        "og:description": about,
        "og:type": "website",
        "og:site_name": book,
    }
    if site:
        properties |= {
            "og:url": urljoin(site, page),
            "og:image": urljoin(site, IMAGE),
            "og:image:width": width,
            "og:image:height": height,
            "og:image:alt": "A sneaker loses its patches one after the other; "
            "below each image stands what the model predicts.",
        }
    named = {
        "description": about,
        "twitter:card": "summary_large_image" if site else "summary",
    }
    return "".join(
        f'<meta {kind}="{name}" content="{escape(str(content))}">\n'
        for kind, all_ in [("name", named), ("property", properties)]
        for name, content in all_.items()
    )


def add_to_page(app, pagename, templatename, context, doctree):
    if app.builder.format != "html":
        return
    config = app.config
    book = config.html_title
    title = unescape(re.sub("<[^>]+>", "", context.get("title", "")))
    if title == book:
        context["docstitle"] = ""  # its name is not said twice
    context["book"] = book
    context["metatags"] = context.get("metatags", "") + tags(
        title or book,
        (doctree and description(doctree)) or config.book_description,
        book,
        config.html_baseurl,
        app.builder.get_target_uri(pagename),
    )


def setup(app):
    app.add_config_value("book_description", "", "html")
    app.connect("html-page-context", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
