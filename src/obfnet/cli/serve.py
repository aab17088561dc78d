"""`obfnet serve`: the reference backend."""

import json
from pathlib import Path

import click

from obfnet.cli.options import common_options
from obfnet.core.files import write_json
from obfnet.serve import run_server


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="REST; 0 = any free."
)
@click.option(
    "--grpc-port", type=click.IntRange(0, 65535), default=None, help="gRPC; 0 = any free.  [default: off]"
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--name", default="model", show_default=True, help="The model's name in URLs.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads a request."
)
@common_options(out="File for the ports, written as JSON once the model answers.")
def serve(
    model: Path,
    port: int,
    grpc_port: int | None,
    host: str,
    name: str,
    threads: int,
    seed: int,
    data_dir: Path | None,
    out: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    r"""Serve an ONNX model over the Open Inference Protocol v2, until Ctrl-C or SIGTERM.

    \b
    Example:
      obfnet serve inference/inference.onnx --port 8080
    """
    if model.is_dir() and (model / "inference.onnx").is_file():
        model = model / "inference.onnx"

    def on_ready(rest: int, grpc: int | None) -> None:
        ready = {
            "url": f"http://{host}:{rest}",
            "grpc_url": f"grpc://{host}:{grpc}" if grpc else None,
            "model": name,
        }
        if out is not None:
            write_json(out, ready)
        click.echo(json.dumps(ready) if as_json else f"serving {model} as '{name}' at {ready['url']}")

    run_server(
        model, port=port, host=host, grpc_port=grpc_port, name=name, threads=threads, on_ready=on_ready
    )
