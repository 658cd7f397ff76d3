"""The twins of `kernels` on a GPU: same file names, same function names, same argument order, same bits."""
