"""Plain functions of learning: sketches, selection, compressors, gradients as flat vectors. They know torch, not the simulator."""
