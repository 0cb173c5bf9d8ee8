"""Compile the arithmetic of the pages' models: `kernels.c`, and what training needs beside it.

    pip install ziglang==0.17.1
    python .ci/kernels.py

Whoever changes a source needs this, and nobody else: the compiler takes 400 MB, so the results
stand in the repository. Beside them stand the SHA-256 of all, and a test compares them: source and
result change together.
"""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[1] / "vit_tutorial" / "widgets" / "engine"
MODULES = {"kernels": [], "gradients": [], "fused": ["-mrelaxed-simd"]}  # and flags of its own
SUMS = ENGINE / "kernels.sha256"
COMPILER = "0.17.1"  # other releases make other bytes of the same source
FLAGS = [
    *("--target=wasm32-freestanding", "-msimd128", "-Os", "-nostdlib", "-Wall", "-Wextra"),
    "-fno-builtin",  # there is no library whose memcpy a loop could become
    *("-Wl,--no-entry", "-Wl,--import-memory", "-Wl,--export=__heap_base", "-Wl,--strip-all"),
    # No kernel needs a stack, for all is in registers, nor data: two modules share one memory.
    "-Wl,-z,stack-size=1024",
]


def compile_to(path: Path) -> None:
    """Compile the source that is named like a file, as it is, into that file.

    Raises CalledProcessError, behind the compiler's own words, where it fails.
    """
    source = ENGINE / f"{path.stem}.c"
    flags = [*FLAGS, *MODULES[path.stem]]
    command = [sys.executable, "-m", "ziglang", "cc", *flags, str(source), "-o", str(path)]
    subprocess.run(command, check=True)
    path.chmod(0o644)


def sums() -> str:
    """List sources and results with their SHA-256, as `sha256sum` does."""
    files = [
        "shared.h",
        "product.h",
        *(f"{name}.{kind}" for name in MODULES for kind in ("c", "wasm")),
    ]
    return "".join(
        f"{sha256((ENGINE / name).read_bytes()).hexdigest()}  {name}\n" for name in files
    )


def main() -> None:
    for name in MODULES:
        result = ENGINE / f"{name}.wasm"
        compile_to(result)
        print(f"{result.name}: {result.stat().st_size:,} bytes")
    SUMS.write_text(sums(), "utf8")


if __name__ == "__main__":
    main()
