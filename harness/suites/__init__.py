"""Loading, validating and selecting instance suites."""

from harness.suites.check import SuiteCheck, validate_suite
from harness.suites.errors import SuiteError
from harness.suites.flaky import FlakyInstance, load_flaky
from harness.suites.load import Suite, load_suite, rows_sha256
from harness.suites.manifest import PinnedPackage, SuiteManifest, ids_sha256
from harness.suites.manifests import load_manifest, manifests_root, suite_names
from harness.suites.validate import RefusedRow

__all__ = [
    "FlakyInstance",
    "PinnedPackage",
    "RefusedRow",
    "Suite",
    "SuiteCheck",
    "SuiteError",
    "SuiteManifest",
    "ids_sha256",
    "load_flaky",
    "load_manifest",
    "load_suite",
    "manifests_root",
    "rows_sha256",
    "suite_names",
    "validate_suite",
]
