package engine

import "tracker/pkg/hub"

// Count is one whole number for monitors, the same at every door.
type Count struct {
	Name  string
	Value uint64
	Gauge bool // it may fall
	Help  string
}

// Gauge is a number that may fall.
func Gauge(name string, v uint64, help string) Count { return Count{name, v, true, help} }

// Counter is a number that counts since the start.
func Counter(name string, v uint64, help string) Count { return Count{name, v, false, help} }

// HubCounts are the numbers of the hub.
func HubCounts(h *hub.Stats) []Count {
	return []Count{
		Gauge("viewers", uint64(h.Viewers), "watches open now"),
		Gauge("streams", uint64(h.Streams), "different things that are watched"),
		Gauge("behind", uint64(h.Behind), "watches that have fallen behind and are not back yet"),
		Gauge("bytes", uint64(max(h.Bytes, 0)), "of frames kept for those who lag or resume"),
		Counter("frames", h.Frames, "frames made for streams"),
		Counter("fixes_in", h.FixesIn, "fixes published"),
		Counter("fixes_out", h.FixesOut, "fixes given to watches, snapshots and resyncs not counted"),
		Counter("encodings", h.Encodings, "times that the bytes of a frame were made"),
		Counter("skipped", h.Skipped, "fixes that slow watches were spared"),
		Counter("resyncs", h.Resyncs, "times that a watch came back from behind"),
	}
}
