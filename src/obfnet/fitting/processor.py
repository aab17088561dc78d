"""Which processor trains: one name on the command line, the same code on all of them."""

import torch

from obfnet.core.errors import UsageError

NAMES = ("auto", "cpu", "cuda")


def processor(name: str) -> torch.device:
    """The torch device of that name.

    Args:
        name: `"cpu"`, `"cuda"`, or `"auto"` for a GPU where there is one.

    Raises:
        UsageError: another name, or no GPU that this torch can use.

    Example:
        >>> processor("cpu").type
        'cpu'
    """
    if name not in NAMES:
        raise UsageError(f"a processor of {', '.join(NAMES)}", repr(name), "choose one of them")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        raise UsageError(
            "a GPU that this torch can use", "none", "use --processor cpu, or install a CUDA torch"
        )
    return torch.device("cuda" if present and name != "cpu" else "cpu")
