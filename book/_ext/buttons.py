"""Buttons to the repository and to Colab, once the repository has an address.

One line decides, `repository: url` in _config.yml: "" means no such button, for
the theme fails on buttons without an address to lead to.
"""


def follow_the_address(app, config):
    options = config.html_theme_options
    known = bool(options.get("repository_url"))
    options["use_repository_button"] = options["use_issues_button"] = known
    if not known:
        options["launch_buttons"] = {}


def setup(app):
    app.connect("config-inited", follow_the_address)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
