"""An extension's own style sheet, on the pages that need it."""


def add_style(app, name, class_name):
    """Load a style sheet on every page whose text has an element of a class."""

    def add_to_page(app, pagename, templatename, context, doctree):
        if class_name in context.get("body", ""):
            app.add_css_file(name)

    app.connect("html-page-context", add_to_page)
