"""Data in and out: all answers with their segments and clips as files that others can read, and back into a store.

The files and their columns are described in docs/data.md. Everything here needs pyarrow (the extra `data`); without it
the functions say so.
"""

from rlhf_envs.archive.exporting import export_store
from rlhf_envs.archive.importing import ImportReport, copy_rows, import_archive
from rlhf_envs.archive.manifest import FORMAT_VERSION, Manifest
from rlhf_envs.archive.reading import Archive
from rlhf_envs.archive.rows import AnswerRow, QueryRow, Rows
from rlhf_envs.archive.store_rows import StoreRows

__all__ = [
    "FORMAT_VERSION",
    "AnswerRow",
    "Archive",
    "ImportReport",
    "Manifest",
    "QueryRow",
    "Rows",
    "StoreRows",
    "copy_rows",
    "export_store",
    "import_archive",
]
