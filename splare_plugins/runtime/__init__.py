"""The whole encoder as one graph, tokens in and latent weights out, run by OpenVINO or ONNX Runtime instead of torch.

May import the rooms up to heads. Torch is needed to make a graph, not to run one.
"""
