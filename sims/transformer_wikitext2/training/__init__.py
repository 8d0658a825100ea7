"""The parts of the training script: text, batches, model, loop, checkpoint; one idea each."""
