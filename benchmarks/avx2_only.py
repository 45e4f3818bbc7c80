"""Make a copy of ONNX Runtime that takes this processor for one without AVX-512 and VNNI, to measure int8 for those.

    python benchmarks/avx2_only.py .venv-onnxruntime COPY

Needs `objdump` and `gcc`; COPY must not exist. MLAS, whose kernels ONNX Runtime computes with, asks CPUID and can be
told nothing. So each CPUID of the copied library becomes an undefined instruction, and COPY/avx2_only.so answers in its
place (benchmarks/avx2_only.c). torch needs no copy: its parts go by variables. What to set for both is printed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

CPUID, UNDEFINED = b"\x0f\xa2", b"\x0f\x0b"
LIBRARY = "lib/python*/site-packages/onnxruntime/capi/onnxruntime_pybind11_state*.so"
SETTINGS = (
    "FBGEMM_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2"
)


def main() -> None:
    """Copy the environment and change its library."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, copy = map(Path, sys.argv[1:])
    shutil.copytree(source, copy, symlinks=True)
    (library,) = copy.glob(LIBRARY)
    count = replace_cpuid(library)
    preloaded = (copy / "avx2_only.so").resolve()
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", preloaded, Path(__file__).with_suffix(".c")], check=True)
    print(f"{count} instructions replaced. Run the benchmark with\n  {SETTINGS} LD_PRELOAD={preloaded}")
    print(f"and --peer-python {copy}/bin/python")


def replace_cpuid(library: Path) -> int:
    """Replace each CPUID of a library in place, and tell how many there were."""
    offset = address_minus_offset(library)
    lines = subprocess.run(
        ["objdump", "-d", "--section=.text", "--no-show-raw-insn", library], check=True, capture_output=True, text=True
    ).stdout
    content = bytearray(library.read_bytes())
    places = [int(found, 16) - offset for found in re.findall(r"^\s*([0-9a-f]+):\s+cpuid\b", lines, re.MULTILINE)]
    for place in places:
        if content[place : place + 2] != CPUID:
            raise SystemExit(f"no CPUID at offset {place:#x} of {library}")
        content[place : place + 2] = UNDEFINED
    library.write_bytes(content)
    return len(places)


def address_minus_offset(library: Path) -> int:
    """By how much addresses of the code are ahead of places in the file."""
    table = subprocess.run(["objdump", "-h", library], check=True, capture_output=True, text=True).stdout
    found = re.search(r"\.text\s+[0-9a-f]+\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)", table)
    assert found is not None
    return int(found[1], 16) - int(found[2], 16)


if __name__ == "__main__":
    main()
