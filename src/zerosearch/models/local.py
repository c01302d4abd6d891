"""A Hugging Face causal LM in this process: model, tokenizer and sampler together, as a Policy and as a Chat."""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Self

import torch

from zerosearch.core.errors import BadConfig, ModelNotUsable, one_line
from zerosearch.core.install import not_installed
from zerosearch.core.renderers import TemplateRenderer
from zerosearch.core.types import Generation, Sampling
from zerosearch.models.sampler import Arbiter, Sampler
from zerosearch.models.stops import end_ids

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_WEIGHTS = ("*.safetensors", "*.bin", "*.safetensors.index.json")


class LocalModel:
    """Both interfaces at once: `generate` continues token ids (Policy), `complete` answers a text (Chat)."""

    def __init__(self, model: Any, tokenizer: Any, arbiter: Arbiter | None = None, max_rows: int = 512) -> None:
        self.tokenizer, self.renderer = tokenizer, TemplateRenderer(tokenizer)
        self.recipe: Any = None  # of the run that trained it
        self.model = model
        self.sampler = Sampler(model, tokenizer, max_rows=max_rows, arbiter=arbiter)
        self._calls = count()
        self._silent = end_ids(model, tokenizer) | {tokenizer.pad_token_id, tokenizer.bos_token_id}

    @classmethod
    def load(cls, name: str, device: str = "auto", dtype: str = "float32", arbiter: Arbiter | None = None) -> Self:
        """Load a folder or a hub id. Raises ModelNotUsable, one line that says what is missing and what to do."""
        model, tokenizer = load_model(name, device, dtype)
        return cls(model, tokenizer, arbiter)

    async def generate(self, token_ids: Sequence[int], sampling: Sampling, session: str) -> Generation:
        return await self.sampler.generate(token_ids, sampling, session)

    def close(self, session: str) -> None:
        self.sampler.close(session)

    async def aclose(self) -> None:
        """Clear the cache, so that the next call begins as the first did."""
        self.sampler.forget()

    async def complete(self, prompt: str, sampling: Sampling) -> str:
        session = f"complete/{next(self._calls)}"
        try:
            generation = await self.sampler.generate(self.renderer.prompt(prompt), sampling, session)
        finally:
            self.sampler.close(session)
        return self.renderer.decode([i for i in generation.token_ids if i not in self._silent])


def load_model(name: str, device: str = "auto", dtype: str = "float32", kind: str = "AutoModelForCausalLM") -> tuple[Any, Any]:
    """Model and tokenizer of a folder, a hub id or a GGUF file, on `device` (`chosen_device`), by transformers' class `kind`.

    Raises ModelNotUsable.
    """
    import transformers
    from safetensors import SafetensorError

    quiet_transformers()
    device = chosen_device(device)
    if name.endswith(".gguf"):
        place, extra, tokenizer = _gguf(name)
    else:
        offline = not _check_folder(name) and not _reaches_hub(name)
        place, extra, tokenizer = name, {"local_files_only": offline}, load_tokenizer(name, offline)
    try:
        model: Any = getattr(transformers, kind).from_pretrained(place, dtype=DTYPES[dtype], **extra)
        model.to(device).eval()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, NotImplementedError, SafetensorError) as error:
        raise ModelNotUsable(f"cannot load the model '{name}': {one_line(error, 300)}") from error
    return model, tokenizer


def quiet_transformers() -> None:
    """Without the bars and remarks of transformers, which would interrupt our own progress; what goes wrong is raised."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def chosen_device(
    name: str, has_cuda: Callable[[], bool] = torch.cuda.is_available, has_mps: Callable[[], bool] = torch.backends.mps.is_available
) -> str:
    """The device of that name; for "auto", CUDA if there is one, else Apple's MPS, else the CPU. Raises BadConfig if unavailable."""
    if name == "auto":
        return "cuda" if has_cuda() else "mps" if has_mps() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        reason = one_line(error, 300).partition(" device type")[0][:120]
        raise BadConfig(f"the device '{name}' cannot be used here ({reason}); choose cpu, cuda, mps or auto.") from error
    return name


def load_tokenizer(name: str, offline: bool) -> Any:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=offline)
        file = Path(name) / "tokenizer.json"
        if file.exists():
            # for some model types AutoTokenizer silently rebuilds the tokenizer its own way: the file takes precedence
            probe = "What is <search> Paris </search>? Doc 1: 3.14"
            written = Tokenizer.from_file(str(file)).encode(probe, add_special_tokens=False).ids
            if tokenizer(probe, add_special_tokens=False)["input_ids"] != written:
                tokenizer = PreTrainedTokenizerFast.from_pretrained(name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if offline:
            raise ModelNotUsable(
                f"there is no folder '{name}', and the hub cannot be reached and its cache has no such model; give a checkpoint's folder."
            ) from error
        raise ModelNotUsable(f"cannot load the tokenizer of '{name}': {one_line(error, 300)}; save one beside the model.") from error
    return tokenizer


def _gguf(name: str) -> tuple[str, dict[str, Any], Any]:
    """The folder of a GGUF file, what transformers must be told to read that file, and its tokenizer. Raises ModelNotUsable."""
    from transformers import AutoTokenizer

    file, probe = Path(name), "What is <search> Paris </search>? Doc 1: 3.14"
    if not file.is_file():
        raise ModelNotUsable(f"there is no file '{name}'; give a GGUF file, a checkpoint's folder or a Hugging Face hub id.")
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise ModelNotUsable(not_installed(f"the GGUF file '{name}'", package, "gguf"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        ids = tokenizer(probe, add_special_tokens=False)["input_ids"]
    except Exception as error:  # whatever a file of another architecture, or none at all, raises in gguf or transformers
        raise ModelNotUsable(
            f"transformers cannot read the GGUF file '{name}' ({one_line(error)}); serve it with llama.cpp and give its URL."
        ) from error
    if (back := tokenizer.decode(ids)) != probe:
        raise ModelNotUsable(f"the tokenizer of '{name}' makes {back!r} of {probe!r}; serve it with llama.cpp and give its URL.")
    return str(file.parent), {"gguf_file": file.name}, tokenizer


def _reaches_hub(name: str) -> bool:
    """Ask the hub once, with 5 seconds: by default, transformers tries an unreachable hub for half a minute.

    False if the hub cannot be reached: the model may be in its cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        HfApi().model_info(name, timeout=5)
    except RepositoryNotFoundError as error:
        raise ModelNotUsable(f"the hub has no model '{name}' (or it is private); give a checkpoint's folder or a hub id.") from error
    except Exception as error:  # offline mode, no route, no name server, a proxy's refusal: try the cache
        log.info("the hub cannot be reached: %s", error)
        return False
    return True


def _check_folder(name: str) -> bool:
    """Whether `name` is a folder; raises early if it lacks something. Anything that looks like a hub id is left to transformers."""
    folder = Path(name)
    if not folder.exists():
        if name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise ModelNotUsable(f"there is no folder '{name}'; give a checkpoint's folder or a Hugging Face hub id.")
        return False
    if (folder / "adapter_config.json").exists():  # an adapter names the model it belongs to; transformers loads both
        return True
    lacking = [
        what
        for what, found in (
            ("config.json", (folder / "config.json").exists()),
            ("weights (*.safetensors)", any(any(folder.glob(pattern)) for pattern in _WEIGHTS)),
            ("a tokenizer (tokenizer.json)", any(folder.glob("tokenizer*")) or any(folder.glob("vocab*"))),
        )
        if not found
    ]
    if lacking:
        raise ModelNotUsable(f"the folder '{name}' lacks {' and '.join(lacking)}; save them there with save_pretrained.")
    return True
