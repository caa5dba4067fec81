"""`harness leakage audit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.common import JSON_OPTION

_PATHS = list[Path] | None
_NAMED = list[str] | None


def audit(
    evaluation: Annotated[
        str | None, typer.Option("--evaluation", "-e", help="The evaluation suite.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="The training suite.")] = None,
    filter_manifest: Annotated[
        Path | None, typer.Option(help="Of `harness leakage filter`.")
    ] = None,
    pi: Annotated[_PATHS, typer.Option(help="PI records that training used (JSONL).")] = None,
    triples: Annotated[_PATHS, typer.Option(help="Training rows (Parquet).")] = None,
    run: Annotated[_PATHS, typer.Option(help="A run of the student; may be repeated.")] = None,
    teacher: Annotated[
        _NAMED,
        typer.Option(help="ROLE=RUN: base, pi_removed, deployable, oracle.", metavar="R=RUN"),
    ] = None,
    control: Annotated[
        _NAMED,
        typer.Option(
            help="ROLE=RUN: off_the_shelf, method, shuffled_pi, wrong_repository, "
            "random_adapter, leave_one_repository_out.",
            metavar="R=RUN",
        ),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="Of `harness leakage plant`.")] = None,
    containers: Annotated[
        int | None, typer.Option(min=1, help="Sandboxes of each run to search for canaries.")
    ] = None,
    lint: Annotated[Path | None, typer.Option(help="Of `harness env lint --json`.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Base URL of the student.")] = None,
    model: Annotated[str | None, typer.Option(help="The student's name there.")] = None,
    probes: Annotated[
        int | None, typer.Option(min=5, help="Gold patches that the student is asked for.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="All of this as YAML; options given here replace its entries."),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(help="Fail when this check lacks its inputs; `all`: any check."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for index.html and audit.json.")] = Path(
        "audit"
    ),
    title: Annotated[str, typer.Option(help="Of the page.")] = "Leakage audit",
    as_json: JSON_OPTION = False,
) -> None:
    """Audit what crosses from evaluation to training, and from the solution to the student.

    Checks without inputs are reported as not run. Exit code 0: passed. 1: a check failed or
    broke. 2: an input is missing or cannot be read.

    \b
    Examples:
      harness leakage audit -e pypi-mini/test --train pypi-mini/train --run runs/student
      harness leakage audit -e pypi-mini/test --teacher base=runs/a --teacher pi_removed=runs/b
      harness leakage audit --config audit.yaml --require filter --out reports/audit
    """
    from harness.leakage.audit import CHECKS
    from harness.leakage.audit import audit as run_audit
    from harness.leakage.report import headline, write_audit

    given: dict[str, Any] = {
        "evaluation": evaluation,
        "train": train,
        "filter_manifest": filter_manifest,
        "pi": pi,
        "triples": triples,
        "runs": run,
        "teacher_runs": _named(teacher, "--teacher"),
        "control_runs": _named(control, "--control"),
        "ledger": ledger,
        "containers": containers,
        "lint": lint,
        "endpoint": endpoint,
        "model": model,
        "probes": probes,
    }
    inputs = _inputs({name: value for name, value in given.items() if value}, config)
    names = list(CHECKS) if "all" in (require or ()) else (require or [])
    result = run_audit(inputs, lambda text: typer.echo(text, err=True), require=names)
    page = write_audit(result, out, title=title)
    if as_json:
        typer.echo(result.model_dump_json(indent=1))
    else:
        typer.echo(headline(result))
        typer.echo(str(page))
    if not result.passed:
        raise typer.Exit(1)


def _named(pairs: list[str] | None, option: str) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for pair in pairs or ():
        role, separator, path = pair.partition("=")
        if not (role and separator and path):
            raise typer.BadParameter(f"{pair!r}: write ROLE=RUN", param_hint=option)
        if role in named:
            raise typer.BadParameter(f"{role} is given twice", param_hint=option)
        named[role] = Path(path)
    return named


def _inputs(given: dict[str, Any], config: Path | None) -> Any:
    """The audit's inputs. Raises AuditError, naming what is wrong with the configuration."""
    import yaml
    from pydantic import ValidationError

    from harness.leakage.inputs import AuditInputs
    from harness.leakage.material import AuditError
    from harness.suites.errors import did_you_mean

    read: Any = {}
    if config is not None:
        try:
            read = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise AuditError(f"{config}: cannot be read: {error}") from None
        if not isinstance(read, dict):
            raise AuditError(f"{config}: expected keys and values")
    unknown = [str(name) for name in read if name not in AuditInputs.model_fields]
    if unknown:
        hint = did_you_mean(unknown[0], AuditInputs.model_fields)
        raise AuditError(f"{config}: unknown {', '.join(unknown)}{hint}")
    merged = {**read, **given}
    if "evaluation" not in merged:
        raise AuditError("name the evaluation suite: --evaluation, or `evaluation` in --config")
    if len(merged) == 1:
        raise AuditError("nothing to audit: name a training suite, a run, or other material")
    try:
        return AuditInputs.model_validate(merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AuditError(f"{config or 'options'}: {where}: {first['msg']}") from None
