"""A script: lexicons, block maxima and compressed lists of a PISA index whose inverted lists are written.

python -P pisa_prepare.py EXTENSION FOLDER ENCODING
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location


def main(extension: str, folder: str, encoding: str) -> None:
    """Call PISA's own functions; ``extension`` is the file of its Python binding."""
    # Loaded without the package around it, whose import takes seconds.
    spec = spec_from_file_location("_pisathon", extension, loader=ExtensionFileLoader("_pisathon", extension))
    assert spec is not None and spec.loader is not None
    pisa = module_from_spec(spec)
    spec.loader.exec_module(pisa)
    pisa.build_binlex(f"{folder}/fwd.documents", f"{folder}/fwd.doclex")
    pisa.build_binlex(f"{folder}/fwd.terms", f"{folder}/fwd.termlex")
    pisa.prepare_index(pisa.RetrievalContext(), folder, encoding, "quantized", "")


if __name__ == "__main__":
    main(*sys.argv[1:])
