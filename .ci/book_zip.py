"""Put the built book into a zip that readers unzip and open by double-click.

python .ci/book_zip.py          # _build/vit-book.zip; `make zip` builds the book first

vit-book/
  index.html                    leads to the first page
  pages/                        the book; its pages offer the chapters as notebooks
  vit_tutorial-….whl            the package, for whoever runs them
"""

import sys
import tempfile
import zipfile
from pathlib import Path

from package_wheel import ROOT, build_wheel

TOP = "vit-book"
OPEN = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=pages/index.html">
<title>The Vision Transformer, line by line</title>
<p><a href="pages/index.html">Open the book</a></p>
</html>
"""


def put_into_zip(html: Path, wheel: Path, target: Path) -> None:
    """Write the pages in `html`, the package's wheel and the file to open into a zip.

    The same files give the same bytes, whenever they were written.
    """
    pages = [path for path in sorted(html.rglob("*")) if path.is_file()]
    shown = [path for path in pages if not path.name.startswith(".")]  # not the builder's notes
    content = {
        f"{TOP}/index.html": OPEN.encode(),
        f"{TOP}/{wheel.name}": wheel.read_bytes(),
        **{f"{TOP}/pages/{path.relative_to(html).as_posix()}": path.read_bytes() for path in shown},
    }
    new = target.with_name(f"{target.name}.new")
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)  # of 1980
            entry.external_attr = 0o644 << 16
            file.writestr(entry, data, zipfile.ZIP_DEFLATED)
    new.replace(target)


def main() -> None:
    html, target = ROOT / "_build" / "html", ROOT / "_build" / f"{TOP}.zip"
    if not (html / "index.html").exists():
        sys.exit(f"book_zip.py: no book is in {html}: run `make book` first")
    with tempfile.TemporaryDirectory() as folder:
        put_into_zip(html, build_wheel(Path(folder)), target)
    print(f"{target.relative_to(ROOT).as_posix()}: {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
