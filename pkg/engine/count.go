package engine

import "tracker/pkg/hub"

// Count is one whole number for monitors, the same at every door.
type Count struct {
	Name  string
	Value uint64
	Gauge bool // it may fall; otherwise it counts since the start
	Help  string
}

// HubCounts are the numbers of the hub.
func HubCounts(h *hub.Stats) []Count {
	return []Count{
		{"viewers", uint64(h.Viewers), true, "watches open now"},
		{"streams", uint64(h.Streams), true, "different things that are watched"},
		{"behind", uint64(h.Behind), true, "watches that have fallen behind and are not back yet"},
		{"bytes", uint64(max(h.Bytes, 0)), true, "of frames kept for those who lag or resume"},
		{"frames", h.Frames, false, "frames made for streams"},
		{"fixes_in", h.FixesIn, false, "fixes published"},
		{"fixes_out", h.FixesOut, false, "fixes given to watches, snapshots and resyncs not counted"},
		{"encodings", h.Encodings, false, "times that the bytes of a frame were made"},
		{"skipped", h.Skipped, false, "fixes that slow watches were spared"},
		{"resyncs", h.Resyncs, false, "times that a watch came back from behind"},
	}
}
