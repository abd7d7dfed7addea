"""A version's files as an archive for use elsewhere: by hand with onnxruntime, or mounted by Triton."""
