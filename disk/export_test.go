package disk

// CheckpointEvery sets the bytes of the target between two checkpoints.
func (d *Digests) CheckpointEvery(n int64) { d.every = n }
