"""ONNX models: checking untrusted ones, their metadata, and running them."""
