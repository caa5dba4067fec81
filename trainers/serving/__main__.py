"""`python -m trainers.serving --model REF`: serve a model on this machine's CPU."""

import argparse
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

MIB = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, say what it is, and serve until told to stop; 2 when it cannot be had."""
    options = _parser().parse_args(arguments)
    if options.exit_with_stdin:
        threading.Thread(target=_exit_with_stdin, daemon=True).start()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch loads its threads

    from harness.records.cache import cache_root
    from trainers.serving.models import resolve_adapter, resolve_model
    from trainers.serving.shipped import ModelError

    try:
        model = resolve_model(options.model, options.cache or cache_root() / "models")
        adapter = resolve_adapter(options.adapter) if options.adapter else None
        print(
            f"{model.title}\n  source   {model.source}\n  licence  {model.licence}\n"
            f"  sha256   {model.artefact_sha256 or model.weights_sha256}"
            + (f"\n  adapter  {adapter.folder}, sha256 {adapter.sha256}" if adapter else ""),
            flush=True,
        )
        from trainers.serving.load import load_service

        service = load_service(
            model,
            adapter=adapter,
            served_name=options.served_model_name,
            dtype=options.dtype,
            threads=options.threads,
            max_model_len=options.max_model_len,
            prefix_cache_bytes=options.prefix_cache_mib * MIB,
        )
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 2

    import uvicorn

    from trainers.serving.app import create_app

    listener, address = _listen(options)
    print(f"  serving  {service.name} at {address}", flush=True)
    config = uvicorn.Config(create_app(service), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.serving", description=__doc__)
    parser.add_argument("--model", default="smollm2-135m", help="shipped name, folder or hub id")
    parser.add_argument("--adapter", type=Path, help="folder of a LoRA adapter, merged into it")
    parser.add_argument("--served-model-name", help="default: the model's own name")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one (printed)")
    parser.add_argument("--uds", type=Path, help="serve on this Unix socket instead")
    parser.add_argument("--fd", type=int, help="serve on this inherited listening socket instead")
    parser.add_argument("--dtype", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--threads", type=_positive, default=_default_threads())
    parser.add_argument("--max-model-len", type=_positive, help="default: the model's own limit")
    parser.add_argument("--prefix-cache-mib", type=int, default=512)
    parser.add_argument("--cache", type=Path, help="folder of converted models")
    parser.add_argument(
        "--exit-with-stdin", action="store_true", help="end when standard input is closed"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not positive")
    return value


def _default_threads() -> int:
    """The CPUs this process may use, but no more than help a model this small."""
    return min(len(os.sched_getaffinity(0)), 8)


def _listen(options: argparse.Namespace) -> tuple[socket.socket, str]:
    if options.uds is not None:
        if options.uds.is_socket():  # left by a server that was killed
            options.uds.unlink()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(options.uds))
        options.uds.chmod(0o600)
        listener.listen(128)
        return listener, f"unix:{options.uds}"
    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
    else:
        listener = socket.create_server((options.host, options.port), backlog=128)
    host, port = listener.getsockname()[:2]
    return listener, f"http://{host}:{port}"


def _exit_with_stdin() -> None:
    """End at once when the parent closes our standard input, or dies."""
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
