"""Write the address of the book's repository wherever it is needed, or take it back.

    python .ci/address.py https://github.com/OWNER/REPO
    python .ci/address.py ""                                        # takes it back
    python .ci/address.py --publish https://github.com/OWNER/REPO   # unless there is another

It stands in _config.yml, from where the pages' buttons take it. It is also written into README.md,
CITATION.cff and the first cell of every notebook. The site's address, `baseurl`, becomes that of
the repository's GitHub Pages, unless it has a domain of its own.

Everything is checked before anything is written. Setting an address and taking it back leaves the
repository as it was, byte for byte.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat
import notebooks

ROOT = notebooks.ROOT
EXAMPLE = "https://github.com/OWNER/REPO"
PAGES = r"https://[\w-]+\.github\.io/\S*"


class Refused(Exception):
    """An address that cannot be set, and why."""


class Place(NamedTuple):
    """Where a text names the repository: its lines without an address, and with {url}."""

    file: str
    without: str
    named: str

    def write(self, text: str, url: str) -> str:
        """Return the text with this address, "" for none, whichever it had before."""
        named = re.escape(self.named).replace(re.escape("{url}"), r'[^\s"]+')
        either = f"{named}|{re.escape(self.without)}"
        if len(re.findall(either, text)) != 1:
            raise Refused(
                f"{self.file} should have once either\n{self.without}\nor\n{self.named}\n"
                "Write one of them there, or change them in .ci/address.py too"
            )
        new = self.named.replace("{url}", url) if url else self.without
        return re.sub(either, lambda _: new, text)


PLACES = [
    Place("_config.yml", 'repository:\n  url: ""\n', "repository:\n  url: {url}\n"),
    Place("CITATION.cff", "license: MIT\n", 'license: MIT\nrepository-code: "{url}"\n'),
    Place(
        "README.md",
        "In Colab, upload a chapter; its first cell says how to install the package there.",
        "The launch button at the top of each chapter opens it in Colab.",
    ),
    Place(
        "README.md",
        "```\npip install .\n```\n\n"
        "That is for this folder. Elsewhere, give pip the folder's path in place of the dot, or "
        "the `.whl` file in a release's `vit-book.zip`.\n",
        '```\npip install "vit_tutorial @ git+{url}"\n```\n',
    ),
]


def checked(given: str) -> str:
    """Return the address of a repository on GitHub as it is written everywhere.

    A slash or `.git` at its end is dropped. Raises Refused for anything but such an address.
    """
    text = given.strip()
    name = re.search(r"(?<![\w.-])(?:www\.)?github\.com[/:]([\w-]+)/([\w.-]+)", text, re.A | re.I)
    owner, repo = name.groups() if name else ("", "")
    repo = repo.removesuffix(".git")
    meant = f"https://github.com/{owner}/{repo}"
    usable = bool(name) and repo.strip(".") != "" and meant != EXAMPLE
    if usable and text.rstrip("/").removesuffix(".git").lower() == meant.lower():
        return meant
    raise Refused(
        f"{given!r} is not the address of a repository on GitHub, where Colab looks for chapters. "
        + (f"Give {meant}" if usable else f"Give {EXAMPLE}, with the owner's and its own name")
    )


def site(url: str) -> str:
    """Return where GitHub Pages shows a repository's site, with a slash at its end."""
    owner, repo = url.split("/")[-2:]
    home = f"{owner.lower()}.github.io"
    return f"https://{home}/" + ("" if repo.lower() == home else f"{repo}/")


def changes(url: str) -> dict[Path, bytes]:
    """Return what has to be written for this address, "" for none: the files, each whole.

    Raises Refused where a text has not the lines that hold it.
    """
    texts = {name: (ROOT / name).read_text("utf8") for name in {place.file for place in PLACES}}
    new = dict(texts)
    for place in PLACES:
        new[place.file] = place.write(new[place.file], url)
    new["_config.yml"] = re.sub(
        rf'^  baseurl: (""|{PAGES})$',
        f"  baseurl: {site(url)}" if url else '  baseurl: ""',
        new["_config.yml"],
        flags=re.M,
    )
    written = {ROOT / name: new[name].encode() for name in texts if new[name] != texts[name]}
    for path in notebooks.chapters():
        notebook = nbformat.read(path, as_version=4)
        before = notebook.cells[0].source
        notebooks.put_setup_first(notebook, notebooks.pip_requirement(url))
        if notebook.cells[0].source != before:
            notebooks.renew_ids(notebook)
            written[path] = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    return written


def write(files: dict[Path, bytes]) -> None:
    """Write files beside the old ones, and put all in their places when all are whole."""
    new = {path: path.with_name(f"{path.name}.new") for path in files}
    try:
        for path, content in files.items():
            new[path].write_bytes(content)
        for path in files:
            new[path].replace(path)
    finally:
        for path in new.values():
            path.unlink(missing_ok=True)


def set_address(given: str, publish: bool = False) -> list[str]:
    """Set the address, or take it back if it is ""; return a line about each file written.

    publish: refuse where another repository's address is set.
    """
    url = checked(given) if given or publish else ""
    now = notebooks.address()
    if publish and now:
        if now.lower() != url.lower():
            raise Refused(
                f"the address in _config.yml is {now}, but this is {url}: what is published here "
                f"would lead its readers to the other. Run `make address URL={url}`, and commit"
            )
        url = now
    files = changes(url)
    write(files)
    lines = [f"{path.relative_to(ROOT).as_posix()}: written" for path in sorted(files)]
    if publish and not now:
        lines.append(
            "::warning::The pages have an address now, but Colab opens the chapters as they are "
            f"committed, without one. Run `make address URL={url}`, and commit what it writes"
        )
    return lines or ["nothing had to be written"]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("address.py", description=__doc__.splitlines()[0])
    parser.add_argument("url", nargs="?", metavar="URL", help=f'{EXAMPLE}; "" takes it back')
    parser.add_argument("--publish", action="store_true", help="refuse if it is another's")
    given = parser.parse_args(arguments)
    if given.url is None:
        print(f"The address is {notebooks.address() or 'not set'}. To set it: URL={EXAMPLE}")
        return
    try:
        print("\n".join(set_address(given.url, given.publish)))
    except Refused as error:
        sys.exit(f"address.py: {error}. Nothing was written")


if __name__ == "__main__":
    main()
