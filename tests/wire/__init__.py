"""What the tests of the wire share: small ONNX models, scripted servers, a recording proxy."""
