"""Download a published checkpoint once, check it, and keep it.

Files of the Hugging Face hub are kept where its own library keeps them, the
others in this package's cache. A file gets its name there only when it is
whole.
"""

import re
from pathlib import Path

import pooch

from vit_tutorial.weights import from_npz

CACHE = pooch.os_cache("vit_tutorial") / "checkpoints"
TIMEOUT = 30  # seconds of silence after which a server counts as down


def fetch(url: str) -> Path:
    """Download a file into the cache, unless it is there already;
    ConnectionError where it fails.

    It is checked before it gets its name: a .pth against the digits of its
    SHA-256 sum in that name, as in vit_b_16-c867db91.pth, an .npz by reading
    it.
    """
    name = url.rpartition("/")[2]

    def download(url, file, _):
        answers = []  # pooch closes none that tells of an error
        ask = pooch.HTTPDownloader(
            progressbar=True,
            chunk_size=2**16,
            timeout=TIMEOUT,
            hooks={"response": lambda answer, **_: answers.append(answer)},
        )
        try:
            ask(url, file, None)
        finally:
            for answer in answers:
                answer.close()
        if name.endswith(".npz"):
            from_npz(file)
        else:
            check_digits(file, name)

    try:
        return Path(
            pooch.retrieve(
                url,
                None,
                fname=name,
                path=CACHE,
                downloader=download,  # ty: ignore[invalid-argument-type]
            )
        )
    except (OSError, ValueError) as error:
        raise ConnectionError(f"could not download {url}: {error}") from error


def check_digits(path: str | Path, name: str) -> None:
    """Raise ValueError unless a file's SHA-256 sum begins with the digits at
    the end of its name, as in vit_b_16-c867db91.pth."""
    expected = name.removesuffix(".pth").rpartition("-")[2]
    if not (found := pooch.file_hash(path)).startswith(expected):
        raise ValueError(
            f"its SHA-256 sum should begin with {expected}, and is {found}"
        )


def fetch_from_hub(repository: str, name: str) -> Path:
    """Download a file of the Hugging Face hub into the hub's cache, unless it
    is there already.

    Where the hub does not answer, the cached file is taken; its SHA-256 sum is
    its name there (where the system has links). Raises ValueError where the two
    differ, ConnectionError where the download fails or the file has another sum
    than the hub says, ImportError without huggingface_hub.
    """
    try:
        from huggingface_hub import (
            get_hf_file_metadata,
            hf_hub_download,
            hf_hub_url,
            try_to_load_from_cache,
        )
    except ImportError as error:
        raise ImportError(
            f"{repository} is on the Hugging Face hub, which takes "
            "huggingface_hub to read: pip install 'vit_tutorial[weights]'"
        ) from error
    try:
        # Asks once, and fails at once: hf_hub_download would go on asking for
        # minutes.
        metadata = get_hf_file_metadata(
            hf_hub_url(repository, name), timeout=TIMEOUT
        )
        path = Path(hf_hub_download(repository, name))
        # The file may be of a newer revision than the answer, or an older one.
        # Its path is …/snapshots/REVISION/NAME.
        revision = path.parents[name.count("/")].name
        if revision != metadata.commit_hash:
            url = hf_hub_url(repository, name, revision=revision)
            metadata = get_hf_file_metadata(url, timeout=TIMEOUT)
    except Exception as error:  # by version OSError, requests', httpx's …
        if isinstance(cached := try_to_load_from_cache(repository, name), str):
            expected = Path(cached).resolve().name
            is_sha256 = re.fullmatch("[0-9a-f]{64}", expected)
            if is_sha256 and pooch.file_hash(cached) != expected:
                raise ValueError(
                    f"{cached} does not hold what was downloaded: its SHA-256 "
                    f"sum is no longer {expected}. When the network is back, "
                    "delete it and load it again"
                ) from error
            return Path(cached)
        raise ConnectionError(
            f"could not download {name} of {repository}: {error}"
        ) from error
    is_sha256 = len(metadata.etag or "") == 64  # so it is of large files
    if is_sha256 and (found := pooch.file_hash(path)) != metadata.etag:
        path.resolve().unlink()
        path.unlink(missing_ok=True)  # a link to it, where there are links
        raise ConnectionError(
            f"{name} of {repository} should have the SHA-256 sum "
            f"{metadata.etag}, and has {found}: it was damaged, and has been "
            "removed; load it again"
        )
    return path
