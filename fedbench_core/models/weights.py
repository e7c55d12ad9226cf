"""Pretrained weights: from the local cache of the Hugging Face Hub, else from the server."""

from typing import Any

from fedbench_core.api import DataError


def fetch(name: str) -> dict[str, Any]:
    """What tells timm to read the weights `name` (such as `resnet18.a1_in1k`) from a local safetensors file.

    DataError where they are not cached and the server gives no answer, or where they are published as a pickle only.
    """
    import timm  # noqa: PLC0415  # takes two seconds to import
    from huggingface_hub import hf_hub_download, model_info  # noqa: PLC0415  # as slow
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415  # as slow

    published: Any = timm.get_pretrained_cfg(name)
    repository, file = published.hf_hub_id, published.hf_hub_filename or "model.safetensors"
    if not repository or not file.endswith(".safetensors"):
        raise DataError(f"{name}: its weights are not on the Hugging Face Hub as safetensors. Take another backbone.")
    try:
        try:
            path = hf_hub_download(repository, file, local_files_only=True)
        except LocalEntryNotFoundError:
            model_info(repository, timeout=10)  # asks once, where a download without a network tries for a minute
            path = hf_hub_download(repository, file)
    except Exception as error:
        raise DataError(
            f"{name}: its weights ({repository}, {file}) are not in the local cache of the Hugging Face Hub, and the "
            f"server did not give them ({type(error).__name__}). Connect to a network, put them into the cache (HF_HOME "
            f"says where it is), or train from fresh weights without --pretrained."
        ) from error
    return {"file": path, "custom_load": False}
