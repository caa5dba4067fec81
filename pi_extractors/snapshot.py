"""Snapshots of repositories: of a folder, a git commit, a tar archive, or memory."""

from pi_extractors.snapshot_archive import ArchiveSnapshot
from pi_extractors.snapshot_directory import DirectorySnapshot
from pi_extractors.snapshot_files import Limits, MemorySnapshot
from pi_extractors.snapshot_git import GitSnapshot

__all__ = ["ArchiveSnapshot", "DirectorySnapshot", "GitSnapshot", "Limits", "MemorySnapshot"]
