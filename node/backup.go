package node

import (
	"context"
	"io"

	"partstore/metadata"
	"partstore/node/admin"
)

// RegistryBackup implements admin.Service.
func (o operator) RegistryBackup(ctx context.Context, w io.Writer) error {
	if !o.n.isOpen() {
		return errStarting
	}
	return o.n.registry.Backup(ctx, w)
}

// RegistryCapacity implements admin.Service.
func (o operator) RegistryCapacity(ctx context.Context) (admin.RegistryCapacity, error) {
	if !o.n.isOpen() {
		return admin.RegistryCapacity{}, errStarting
	}
	c, err := o.n.registry.Capacity(ctx)
	return admin.RegistryCapacity{
		Node: o.n.ref(o.n.id), Rows: c.Rows, MaxParts: metadata.MaxParts, PercentFull: c.PercentOfParts,
		RowsBytes: c.RowsBytes, LogBytes: c.LogBytes, LogEntries: c.LogEntries, Snapshots: c.SnapshotsKept,
		SnapshotBytes: c.SnapshotBytes, MemoryBytes: c.MemoryBytes, AppliedIndex: c.AppliedIndex,
	}, err
}
