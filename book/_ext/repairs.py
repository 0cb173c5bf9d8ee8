"""Small repairs to what the theme writes into every page."""


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of thebe, a button that this book does not have.

    Sphinx writes the one with THEBE_JS_URL twice (it takes `None` and `""`, the names of a script
    without a file, for two scripts), and a page that declares a constant twice throws.
    """
    scripts = context["script_files"]
    scripts[:] = [s for s in scripts if "thebe" not in f"{s.filename} {s.attributes.get('body')}"]


def list_the_references(app, pagename, templatename, context, doctree):
    """Give the entries of the bibliography the role that their list asks for.

    docutils writes `doc-biblioentry`, a deprecated role that may not stand in a list.
    """
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("html-page-context", drop_thebe)
    app.connect("html-page-context", list_the_references)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
