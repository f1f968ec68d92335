"""Executes a notebook and writes it with its outputs: python execute.py FROM.ipynb TO.ipynb

Needs nbclient, ipykernel and matplotlib besides the package. What the notebook writes goes to a folder that is gone afterwards.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

#: A notebook is looked at in a browser: most bytes.
MOST = 400_000


def main(source: str, target: str) -> None:
    notebook = nbformat.read(source, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}})
        client.execute()
    # Times of day and versions change from run to run and say nothing.
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec",) if key in notebook.metadata}
    text = nbformat.writes(notebook) + "\n"
    if len(text) > MOST:
        sys.exit(f"{target} would have {len(text)} bytes, more than {MOST}: show fewer or smaller pictures")
    Path(target).write_text(text, encoding="utf-8")
    print(f"executed {Path(source).name}: {len(notebook.cells)} cells, {len(text)} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
