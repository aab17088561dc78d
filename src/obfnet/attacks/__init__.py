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
    {
        "class-mean": "obfnet.attacks.class_mean:ClassMean",
        "as-received": "obfnet.attacks.as_received:AsReceived",
        "retrieval": "obfnet.attacks.retrieval:Retrieval",
        "unpaired": "obfnet.attacks.unpaired:UnpairedMatching",
        "pool-decoder": "obfnet.attacks.pool_decoder:PoolDecoder",
        "ridge": "obfnet.attacks.ridge:Ridge",
        "wiener": "obfnet.attacks.wiener:WienerFilter",
        "value-table": "obfnet.attacks.value_table:ValueTable",
        "pca-neighbour": "obfnet.attacks.pca_neighbour:PCANeighbour",
        "code-lookup": "obfnet.attacks.code_lookup:CodeLookup",
        "decoder": "obfnet.attacks.decoder:Decoder",
        "residual-decoder": "obfnet.attacks.residual_decoder:ResidualDecoder",
        "large-decoder": "obfnet.attacks.large_decoder:LargeDecoder",
        "adversarial-decoder": "obfnet.attacks.adversarial_decoder:AdversarialDecoder",
        "inversion": "obfnet.attacks.inversion:Inversion",
        "few-pairs": "obfnet.attacks.few_pairs:FewPairs",
        "averaging": "obfnet.attacks.averaging:Averaging",
    },
    extra="train",
    entry_points="obfnet.attacks",
)

ATTRIBUTE_ATTACKS: Final = Registry[type[AttributeAttack]](
    "attribute attack",
    {
        "linear-probe": "obfnet.attacks.linear_probe:LinearProbe",
        "mlp-probe": "obfnet.attacks.attribute_probe:MLPProbe",
        "boosted-trees": "obfnet.attacks.boosted_trees:BoostedTrees",
    },
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
