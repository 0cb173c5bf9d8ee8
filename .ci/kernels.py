"""Compile the arithmetic of the pages' models, `kernels.c`, into `kernels.wasm`.

    pip install ziglang==0.17.1
    python .ci/kernels.py

Whoever changes the source needs this, and nobody else: the compiler takes 400 MB, so the result
stands in the repository. Beside it stand the SHA-256 of both, and a test compares them: source and
result change together.
"""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[1] / "vit_tutorial" / "widgets" / "engine"
SOURCE, RESULT, SUMS = (ENGINE / f"kernels.{kind}" for kind in ("c", "wasm", "sha256"))
COMPILER = "0.17.1"  # other releases make other bytes of the same source
FLAGS = [
    *("--target=wasm32-freestanding", "-msimd128", "-O3", "-nostdlib", "-Wall", "-Wextra"),
    "-fno-builtin",  # there is no library whose memcpy a loop could become
    *("-Wl,--no-entry", "-Wl,--import-memory", "-Wl,--export=__heap_base", "-Wl,--strip-all"),
    "-Wl,-z,stack-size=1024",  # no kernel needs a stack: all is in registers
]


def compile_to(path: Path) -> None:
    """Compile the source as it is into a file.

    Raises CalledProcessError, behind the compiler's own words, where it fails.
    """
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(SOURCE), "-o", str(path)]
    subprocess.run(command, check=True)
    path.chmod(0o644)


def sums() -> str:
    """List source and result with their SHA-256, as `sha256sum` does."""
    return "".join(
        f"{sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in (SOURCE, RESULT)
    )


def main() -> None:
    compile_to(RESULT)
    SUMS.write_text(sums(), "utf8")
    print(f"{RESULT.name}: {RESULT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
