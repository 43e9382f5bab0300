package chunkstore

// Settle waits until nothing is left to do in the background.
func (d *Disk) Settle() { d.keeper.wait() }
