"""What a curious backend can do with the samples that it receives.

An attack gets what its threat level knows as a typed object (`knowledge`) and nothing else; it never
imports training. Every figure names its attack and its threat level.
"""

from typing import Final

from obfnet.attacks.attack import (
    Attack,
    AttributeAttack,
    Recognition,
    Reconstruction,
    ReconstructionAttack,
)
from obfnet.attacks.knowledge import (
    KNOWLEDGE,
    Insider,
    Obfuscator,
    Observed,
    PoolKnown,
    WhiteBox,
)
from obfnet.core.registry import Registry

ATTACKS: Final = Registry[type[ReconstructionAttack]](
    "attack",
    {"decoder": "obfnet.attacks.decoder:Decoder", "class-mean": "obfnet.attacks.class_mean:ClassMean"},
    extra="train",
    entry_points="obfnet.attacks",
)

ATTRIBUTE_ATTACKS: Final = Registry[type[AttributeAttack]](
    "attribute attack",
    {},
    extra="train",
    entry_points="obfnet.attribute_attacks",
)

__all__ = [
    "ATTACKS",
    "ATTRIBUTE_ATTACKS",
    "KNOWLEDGE",
    "Attack",
    "AttributeAttack",
    "Insider",
    "Obfuscator",
    "Observed",
    "PoolKnown",
    "Recognition",
    "Reconstruction",
    "ReconstructionAttack",
    "WhiteBox",
]
