"""Reports on runs: one HTML file, or a table for the terminal."""

from harness.reports.caps import Caps
from harness.reports.html import write_report
from harness.reports.load import load_run, load_runs
from harness.reports.markdown import summary_markdown, summary_table

__all__ = ["Caps", "load_run", "load_runs", "summary_markdown", "summary_table", "write_report"]
