package ingest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const slabBytes = slabLen * recordSize

// newSlab maps zeroed memory outside the Go heap, so that a gigabyte of records is
// nothing to the garbage collector, neither to scan nor to pace itself by. The slab
// is aligned to its size and asks for a huge page: with small ones most look-ups
// would miss the TLB on top of the cache. Keys do not go into core dumps.
func newSlab() (slab []record, release func()) {
	all, err := unix.MmapPtr(-1, 0, nil, 2*slabBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]record, slabLen), func() {} // no mappings left: slower, but it works
	}
	start := unsafe.Add(all, -uintptr(all)&(slabBytes-1))
	if before := uintptr(start) - uintptr(all); before > 0 {
		_ = unix.MunmapPtr(all, before)
		_ = unix.MunmapPtr(unsafe.Add(start, slabBytes), slabBytes-before)
	} else {
		_ = unix.MunmapPtr(unsafe.Add(start, slabBytes), slabBytes)
	}
	b := unsafe.Slice((*byte)(start), slabBytes)
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a kernel that has none is only slower
	_ = unix.Madvise(b, unix.MADV_DONTDUMP)
	return unsafe.Slice((*record)(start), slabLen), func() { _ = unix.MunmapPtr(start, slabBytes) }
}
