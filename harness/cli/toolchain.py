"""`harness toolchain`."""

import json
from typing import Annotated

import typer

from harness.cli.common import JSON_OPTION

app = typer.Typer(
    help="Build and verify what the OpenHands agent runs on in a sandbox.", no_args_is_help=True
)


@app.command()
def build(
    docker: Annotated[
        bool, typer.Option("--docker", help="Also make the image and volume for containers.")
    ] = False,
    from_image: Annotated[
        str | None,
        typer.Option(help="Take the tree out of this image of docker/openhands/Dockerfile."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build again what is there.")] = False,
    as_json: JSON_OPTION = False,
) -> None:
    """Build the toolchain into the cache: own Python and libc, pinned OpenHands, no root needed.

    What is there already is kept. Needs Debian or Ubuntu, a Debian mirror and a package index;
    elsewhere build the image of docker/openhands/Dockerfile first and name it.

    \b
    Examples:
      harness toolchain build
      harness toolchain build --docker
      harness toolchain build --from-image swe-harness/openhands:1.58.0
    """
    from harness.environments.toolchain_build import build_toolchain
    from harness.environments.toolchain_docker import ensure_volume

    toolchain = build_toolchain(image=from_image, force=force, on_progress=_progress)
    volume = ensure_volume(toolchain, force=force) if docker else None
    if as_json:
        typer.echo(json.dumps(toolchain.model_dump(mode="json") | {"volume": volume}, indent=1))
        return
    typer.echo(f"folder  {toolchain.root}")
    if volume:
        typer.echo(f"volume  {volume}")
    typer.echo(f"digest  {toolchain.digest}")
    for name, version in sorted(toolchain.versions.items()):
        typer.echo(f"{name:<23} {version}")


@app.command()
def verify(
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="Docker images to try it in.")
    ] = None,
    as_json: JSON_OPTION = False,
) -> None:
    """Hash the toolchain's files again, and start it in each kind of sandbox there is.

    Exit code 1 when something is not as it was built, or does not start.

    \b
    Examples:
      harness toolchain verify
      harness toolchain verify -i debian:bullseye-slim
    """
    from harness.environments.toolchain import find_toolchain
    from harness.environments.toolchain_verify import verify_toolchain

    report = verify_toolchain(find_toolchain(), images=image, on_progress=_progress)
    if as_json:
        typer.echo(json.dumps(report.model_dump(mode="json") | {"ok": report.ok}, indent=1))
    else:
        typer.echo(f"{report.toolchain.root}: {report.size_bytes / 1e6:.0f} MB")
        for check in report.checks:
            facts = [check.detail] if check.detail else []
            if check.seconds is not None:
                facts.append(
                    f"imported in {check.seconds:.1f} s ({check.cpu_seconds:.1f} CPU-s), "
                    f"{check.memory_mib} MiB"
                )
            typer.echo(f"{'FAIL' if check.problems else 'ok':<5} {check.where}: {'; '.join(facts)}")
            for problem in check.problems:
                typer.echo(f"      {problem}")
    if not report.ok:
        raise typer.Exit(1)


def _progress(line: str) -> None:
    typer.echo(line, err=True)
