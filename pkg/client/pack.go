package client

import (
	"encoding/binary"
	"errors"
	"math"

	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

// maxBundle is how many fixes are tried for one datagram. Few trails have more: the
// server takes 50 fixes a second, and four datagrams.
const maxBundle = 128

const trailParts = track.HasAlt | track.HasVel | track.HasAcc

// packer makes datagram bodies. One goroutine uses it.
type packer struct {
	body []byte
	tlvs []byte
}

// bundle tells how many of the fixes, newest first, can go into one datagram without
// losing anything but battery levels: a trail says the same things of all its fixes,
// and has no room for an event.
func bundle(newestFirst []track.Fix) int {
	n := 1
	for n < min(len(newestFirst), maxBundle) && follows(&newestFirst[0], &newestFirst[n-1], &newestFirst[n]) {
		n++
	}
	return n
}

// follows tells whether f can stand in a trail behind newer, in a datagram that
// begins with lead.
func follows(lead, newer, f *track.Fix) bool {
	return lead.Has&track.HasPos != 0 && f.Has&track.HasPos != 0 &&
		f.Has&trailParts == lead.Has&trailParts && f.Event == track.EventNone &&
		f.Time <= newer.Time && newer.Time-f.Time < math.MaxUint32
}

// pack encodes as many of the fixes, newest first, as belong together and fit, and
// returns the body and how many those were. queued is told to the server as the
// number that still waits; fixes that are left over are added to it.
func (p *packer) pack(newestFirst []track.Fix, queued int, ack bool) (body []byte, n int, err error) {
	n = bundle(newestFirst)
	for {
		body, err = p.encode(newestFirst[:n], queued+len(newestFirst)-n, ack)
		if err != nil || len(body) <= seal.MaxBody {
			return body, n, err
		}
		if n == 1 {
			return nil, 0, errors.New("one fix does not fit a datagram")
		}
		n -= max(1, n/8)
	}
}

func (p *packer) encode(newestFirst []track.Fix, queued int, ack bool) ([]byte, error) {
	b := wire.Body{Fixes: newestFirst, Ack: ack}
	b.TrailParts = newestFirst[0].Has & trailParts
	for i := range newestFirst {
		if newestFirst[i].Time%1000 != 0 {
			b.Sub, b.TrailSub = true, len(newestFirst) > 1
		}
	}
	p.tlvs = p.tlvs[:0]
	if e := newestFirst[0].Event; e != track.EventNone {
		p.tlvs = wire.AppendTLV(p.tlvs, wire.TLVEvent, []byte{byte(e)})
	}
	if queued > 0 {
		var v [2]byte
		binary.BigEndian.PutUint16(v[:], uint16(min(queued, math.MaxUint16)))
		p.tlvs = wire.AppendTLV(p.tlvs, wire.TLVQueued, v[:])
	}
	b.TLVs = p.tlvs
	var err error
	p.body, err = wire.AppendBody(p.body[:0], &b)
	return p.body, err
}
