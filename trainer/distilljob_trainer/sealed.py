"""A JSON document with tensors beside it, on disk: whole or absent, checked by checksums, never unpickled.

`<name>.safetensors` is written first; `<name>.json` comes last, names the checksums of both and makes the pair valid.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor
from xxhash import xxh3_64_hexdigest

from distilljob_core.files import sync_directory, write_atomically


class Damaged(Exception):
    """A pair is not what was written."""


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Write named tensors as one safetensors file: equal tensors give equal bytes.

    Tensors that share memory are written each on its own, so that `load_state_dict` takes the file as it is.
    """
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    )


def write(path: Path, body: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Write a pair durably; gives its size in bytes.

    Args:
        path: of the JSON file. A pair is written once, never replaced by another content.
        body: plain JSON types.
        tensors: by name.

    Raises:
        StorageFull: no space left; nothing of the pair remains.
    """
    content = tensor_bytes(tensors)
    manifest = {"tensors": xxh3_64_hexdigest(content), "checksum": _checksum(body), "body": body}
    try:
        write_atomically(path.with_suffix(".safetensors"), content)
        write_atomically(path, json.dumps(manifest, indent=1).encode())
    except BaseException:
        remove(path)
        raise
    return len(content)


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read a pair.

    Raises:
        Damaged: it is not there whole.
    """
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        content = path.with_suffix(".safetensors").read_bytes()
        body, sums = manifest["body"], (manifest["checksum"], manifest["tensors"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path}: {error!r}") from error
    if sums != (_checksum(body), xxh3_64_hexdigest(content)):
        raise Damaged(f"{path}: wrong checksum")
    return body, safetensors.torch.load(content)


def remove(path: Path) -> None:
    """Take a pair away, the JSON file first: tensors alone are no pair."""
    for part in (path, path.with_suffix(".safetensors")):
        part.unlink(missing_ok=True)
    sync_directory(path.parent)


def _checksum(body: Mapping[str, Any]) -> str:
    return xxh3_64_hexdigest(json.dumps(body, sort_keys=True).encode())
