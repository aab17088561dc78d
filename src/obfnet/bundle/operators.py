"""The ONNX operators that an obfuscation network may use, sorted by whether they mix raw values.

Wide enough for the fully connected and convolutional networks that torch exports and for quantised ones;
no control flow, no random numbers, no strings, sequences or outside effects. An operator that is missing
here is added in one place, in the set that tells what it does.
"""

from typing import Final

# One raw value decides one output value: moving, scaling, rounding, cutting, picking.
_POINTWISE: Final = """
    Abs Add And BatchNormalization BitShift BitwiseAnd BitwiseOr BitwiseXor Cast CastLike Ceil
    Celu Clip Concat Constant ConstantOfShape DepthToSpace DequantizeLinear Div Elu Equal Erf
    Exp Expand Flatten Floor Gather GatherElements GatherND Gelu Greater GreaterOrEqual
    HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg
    Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal Relu Reshape Round
    ScatterElements ScatterND Selu Shape Sigmoid Sign Size Slice Softplus Softsign SpaceToDepth
    Split Sqrt Squeeze Sub Sum Tanh ThresholdedRelu Tile Transpose Unsqueeze Where Xor
"""
POINTWISE_OPERATORS: Final = frozenset(_POINTWISE.split())

# Several raw values decide one output value, or may.
_MIXING: Final = """
    ArgMax ArgMin AveragePool Conv ConvInteger ConvTranspose CumSum Einsum Gemm
    GlobalAveragePool GlobalMaxPool GroupNormalization InstanceNormalization LRN
    LayerNormalization LogSoftmax LpNormalization MatMul MatMulInteger MaxPool
    MeanVarianceNormalization QLinearConv QLinearMatMul ReduceL1 ReduceL2 ReduceMax ReduceMean
    ReduceMin ReduceProd ReduceSum ReduceSumSquare Resize Softmax TopK Upsample
"""
MIXING_OPERATORS: Final = frozenset(_MIXING.split())

OPERATORS: Final = POINTWISE_OPERATORS | MIXING_OPERATORS

# They read the shape of a value, which the manifest fixes, and none of its contents.
SHAPE_OPERATORS: Final = frozenset({"Shape", "Size"})
