"""The step on a GPU: streams' rows in its memory, one launch a wave, samples down and answers up.

    memory     what stands where in the GPU's memory, and in the packets that travel
    waves      rows of a burst cut into waves, into packets and out of them: compiled for the CPU
    sample, chain      what a wave goes through, by the blocks of a grid
    advance    all of it as one kernel
    device     the GPU as the engine sees it

Only `sample`, `chain`, `advance` and `device` need a Numba with a CUDA target, and nothing imports those but an engine
on a GPU.
"""
