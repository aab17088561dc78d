"""Trained networks leave as ONNX: what the backend serves and what a bundle holds."""

from obfnet.export.onnx_bytes import inference_onnx, obfuscation_onnx, pool_onnx

__all__ = ["inference_onnx", "obfuscation_onnx", "pool_onnx"]
