"""From weights to an engine folder that a robot loads: ONNX, precision, compilation, parity, manifest."""
