"""Pretrained weights, from the local Hugging Face cache or by download."""

from typing import Any

from fedbench_core.api import DataError


def fetch(name: str) -> dict[str, Any]:
    """A timm config overlay that loads the weights `name` (such as `resnet18.a1_in1k`) from a local safetensors file.

    DataError if they are neither cached nor downloadable, or published only as a pickle.
    """
    import timm  # noqa: PLC0415  # takes two seconds to import
    from huggingface_hub import hf_hub_download, model_info  # noqa: PLC0415  # as slow
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415  # as slow

    published: Any = timm.get_pretrained_cfg(name)
    repository, file = published.hf_hub_id, published.hf_hub_filename or "model.safetensors"
    if not repository or not file.endswith(".safetensors"):
        raise DataError(f"{name}: Hugging Face has no safetensors file of its weights. Use another backbone.")
    try:
        try:
            path = hf_hub_download(repository, file, local_files_only=True)
        except LocalEntryNotFoundError:
            model_info(repository, timeout=10)  # fails at once without a network, where a download retries for a minute
            path = hf_hub_download(repository, file)
    except Exception as error:
        raise DataError(
            f"{name}: its weights ({repository}, {file}) are not in the local Hugging Face cache (set by HF_HOME) and "
            f"could not be downloaded ({type(error).__name__}). Connect to a network, copy them into the cache, or "
            "leave out --pretrained."
        ) from error
    return {"file": path, "custom_load": False}
