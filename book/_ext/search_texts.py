"""The words of all pages in one script, for a search with excerpts offline.

Sphinx fetches each page that it has found and shows the words around the match.
A page opened as a file may fetch nothing, but it may load a script:
search_files.js does.
"""

import json
from pathlib import Path

from bs4 import BeautifulSoup

SILENT = ["script", "style", "img", "svg", ".headerlink", ".on-hover"]


def words(html):
    """Reduce a page to its text and anchors, as Sphinx's search reads it."""
    main = BeautifulSoup(html, "html.parser").find(attrs={"role": "main"})
    article = main.find("article") or main
    for tag in article.select(", ".join(SILENT)):
        tag.decompose()
    for tag in article.find_all(True):
        if tag.get("id"):
            tag.attrs = {"id": tag["id"]}
        else:
            tag.unwrap()
    article.attrs = {"role": "main"}
    return str(article)


def write(app, exception):
    """Write the script beside the pages, once they are all there."""
    if exception or app.builder.format != "html":
        return
    texts = {
        name: words(Path(app.outdir, f"{name}.html").read_text("utf8"))
        for name in sorted(app.env.found_docs)
    }
    script = (
        f"globalThis.pageTexts = {json.dumps(texts, ensure_ascii=False)};\n"
    )
    Path(app.outdir, "_static", "search_texts.js").write_text(script, "utf8")


def add_to_search(app, pagename, templatename, context, doctree):
    if pagename == "search":
        app.add_js_file("search_files.js")


def setup(app):
    app.connect("html-page-context", add_to_search)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
