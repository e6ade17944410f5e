"""Archives: all answers with their segments and clips as files that other programs read, and back into a store.

The files and their columns are described in docs/data.md. pyarrow (the extra `data`) is needed; without it the
functions say so.
"""

from rlhf_envs.archive.export import export_store
from rlhf_envs.archive.importing import ImportReport, import_archive, import_records
from rlhf_envs.archive.pairs import LabelledPair, PairsFile, export_pairs, import_pairs, labelled_pairs
from rlhf_envs.archive.reading import Archive, RecordSource
from rlhf_envs.archive.records import StoreSnapshot

__all__ = [
    "Archive",
    "ImportReport",
    "LabelledPair",
    "PairsFile",
    "RecordSource",
    "StoreSnapshot",
    "export_pairs",
    "export_store",
    "import_archive",
    "import_pairs",
    "import_records",
    "labelled_pairs",
]
