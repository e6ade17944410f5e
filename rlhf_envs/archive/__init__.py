"""Archives: all answers with their segments and clips as files that other programs read, and back into a store.

The files and their columns are described in docs/data.md. pyarrow (the extra `data`) is needed; without it the
functions say so.
"""

from rlhf_envs.archive.export import export_store
from rlhf_envs.archive.importing import ImportReport, import_archive, import_records
from rlhf_envs.archive.manifest import FORMAT_VERSION, Manifest
from rlhf_envs.archive.reading import Archive, RecordSource, check_records
from rlhf_envs.archive.records import QueryRecord, StoreSnapshot

__all__ = [
    "FORMAT_VERSION",
    "Archive",
    "ImportReport",
    "Manifest",
    "QueryRecord",
    "RecordSource",
    "StoreSnapshot",
    "check_records",
    "export_store",
    "import_archive",
    "import_records",
]
