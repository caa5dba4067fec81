"""Rows from a dataset on the Hugging Face hub, through the `datasets` library."""

from collections.abc import Iterator
from typing import NamedTuple

from harness.suites.errors import SuiteError
from harness.suites.rows import Row


class HubRows(NamedTuple):
    """The rows of one split and the commit they are of (None when it could not be asked)."""

    revision: str | None
    rows: Iterator[Row]


def read_hub(
    dataset: str,
    *,
    split: str,
    config: str | None = None,
    files: str | None = None,
    revision: str | None = None,
) -> HubRows:
    """The rows of a dataset's split at a revision (a branch or tag is resolved to its commit).

    config: of a dataset that has several. files: Parquet files of it to read, with `{split}` in
    it, in place of what the dataset would load.

    Raises SuiteError when the library is missing, the hub cannot be reached, or the hub has no
    such dataset, revision or split.
    """
    try:
        import datasets
        import huggingface_hub
    except ImportError:
        raise SuiteError(
            f"{dataset}: the `datasets` library is missing; run: pip install datasets"
        ) from None
    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            # Asked first, because the loader itself retries for 20 s when there is no network.
            revision = huggingface_hub.HfApi().dataset_info(dataset, revision=revision).sha
        if files is None:
            table = datasets.load_dataset(dataset, config, split=split, revision=revision)
        else:
            names = files.replace("{split}", split)
            where = f"hf://datasets/{dataset}@{revision or 'main'}/{names}"
            table = datasets.load_dataset("parquet", data_files={split: where}, split=split)
    except Exception as error:  # the two libraries raise those of whichever HTTP client they use
        at = f"@{revision}" if revision else ""
        raise SuiteError(
            f"{dataset}{at}, split {split}: the hub gave no rows "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}). "
            "If this machine cannot reach the hub, download the split elsewhere and name the file: "
            "a path that ends in .parquet or .jsonl"
        ) from None
    return HubRows(revision, enumerate(table, start=1))
