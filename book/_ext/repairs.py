"""Small repairs to what the theme writes into every page."""


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of thebe, a button that this book does not have.

    Sphinx writes the one with THEBE_JS_URL twice (the name of a script without
    a file is first `None`, then `""`, so that it counts for two), and a page
    that declares a constant twice throws.
    """
    context["script_files"][:] = [
        script
        for script in context["script_files"]
        if "thebe" not in f"{script.filename} {script.attributes.get('body')}"
    ]


def list_the_references(app, pagename, templatename, context, doctree):
    """Give the entries of the bibliography the role that their list asks for.

    docutils writes `doc-biblioentry`, a deprecated role that may not stand in
    a list.
    """
    body = context.get("body", "")
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    app.connect("html-page-context", drop_thebe)
    app.connect("html-page-context", list_the_references)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
