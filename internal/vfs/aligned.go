package vfs

import "unsafe"

// AlignedBuffer returns n zero bytes that start at a multiple of Align in
// memory, as direct writes need.
func AlignedBuffer(n int) []byte {
	b := make([]byte, n+Align)
	skip := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (Align - 1))
	return b[skip : skip+n : skip+n]
}
