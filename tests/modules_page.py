"""A page with some of the figures' modules, opened by double-click: `$name` holds what one exports.

Nothing is drawn; a test asks the modules themselves.
"""

from vit_tutorial.widgets.bundle import whole


def write_modules(folder, names):
    """Write the page, and return its address."""
    constants = ", ".join(f"${name}" for name in names)
    exports = whole(names, f"{{ {constants} }}").removesuffix(";\n")
    (folder / "figures.js").write_text(f"Object.assign(globalThis, {exports});", "utf8")
    html = '<!doctype html><meta charset="utf8"><title>A page</title>'
    html += '<script src="figures.js"></script>'
    (folder / "page.html").write_text(html, "utf8")
    return (folder / "page.html").as_uri()


def open_modules(browser, folder, names):
    """Open the page; its folder may hold what else a test puts there."""
    page = browser.new_page()
    page.noise, page.asked = [], []
    page.on("console", lambda line: page.noise.append(line.text))
    page.on("pageerror", lambda error: page.noise.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(write_modules(folder, names))
    return page
