"""The list of instances whose verdict is known not to be trustworthy."""

from pathlib import Path

import pytest

from harness.suites import SuiteError, load_flaky, load_manifest


def test_the_shipped_list_is_of_verified_instances_and_has_sources() -> None:
    flaky = load_flaky()
    assert {"psf__requests-5414", "sympy__sympy-13091", "django__django-10097"} <= set(flaky)
    assert set(flaky) <= set(load_manifest("swe-bench-verified").ids)
    for one in flaky.values():
        assert all(source.startswith("https://github.com/") for source in one.sources)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- {instance_id: a, kind: odd, reason: r, evidence: measured here}",
            "entry 1, field kind",
        ),
        ("- {instance_id: a, kind: flaky, reason: r}", "entry 1, field evidence"),
        ("a: 1", "entry list"),
        ("- [", "cannot be read"),
        ("- &a {instance_id: a, kind: flaky, reason: r, evidence: measured here}\n- *a", "twice"),
    ],
)
def test_a_malformed_list_names_the_entry(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "flaky.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError, match=message):
        load_flaky(path)
