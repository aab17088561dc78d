"""One operator of a graph, with its settings, as the functions that run it see it.

Knows no operator by itself.
"""

from dataclasses import dataclass
from typing import Any, Final, final

from obfnet.core.errors import AttackError

# ONNX's numbers of element types: unsigned and signed whole numbers of 8 to 64 bits.
_WHOLE: Final = frozenset({2, 3, 4, 5, 6, 7, 12, 13})
REMEDY: Final = "add it to `attacks.graph_operators`, or leave this attack out"


@final
@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator in a graph.

    Args:
        operator: Its type.
        name: Of the node.
        inputs: Names of values; an empty one is left out.
        outputs: Names of values.
        settings: The node's attributes.
        kind: ONNX's number of the first output's element type in the graph.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[str, Any]
    kind: int

    @property
    def whole(self) -> bool:
        """Whether the first output is a whole number in the graph."""
        return self.kind in _WHOLE

    def get(self, name: str, default: Any) -> Any:
        """A setting, or what ONNX says it is without one."""
        return self.settings.get(name, default)

    def only(self, **known: tuple[Any, ...]) -> None:
        """Raises `AttackError` where a setting is none of those that are known; the first is its default."""
        for name, values in known.items():
            if (got := self.get(name, values[0])) not in values:
                raise AttackError(
                    f"{name} {' or '.join(map(str, values))} of operator {self.operator}",
                    f"{got} (node {self.name!r})",
                    REMEDY,
                )
