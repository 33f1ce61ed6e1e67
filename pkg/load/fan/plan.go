package fan

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"tracker/pkg/geo"
	"tracker/pkg/load"
)

// Phase says how the first updates of the senders lie in the first interval.
type Phase uint8

const (
	Uniform Phase = iota // spread evenly, in an order that the seed decides
	Burst                // all at once
)

// Pacing says what a sender's next update waits for.
type Pacing uint8

const (
	Schedule Pacing = iota // for its moment; being late once delays none of the others
	Sleep                  // for the sender, who sleeps after it has sent
	Step                   // for its moment, and for everybody to have the one before; of a Session only
)

// Plan is who sends what, and when: everything that must come out at every viewer. Send
// j is update j/Senders of sender j%Senders, for senders by the order of their turns.
type Plan struct {
	Senders int
	Sends   int64 // in all
	Seed    uint64
	Phase   Phase
	Pacing  Pacing
	Every   time.Duration // from one update of a sender to its next; 0: as rate says
	rate    load.Plan

	devices []int // by turn: which device sends
	places  ground
}

// Rounds is the plan of n senders that send m updates each, one every s.
func Rounds(n, m int, s time.Duration, phase Phase, pacing Pacing, seed uint64) *Plan {
	p := &Plan{Senders: n, Sends: int64(n) * int64(m), Seed: seed, Phase: phase, Pacing: pacing, Every: s}
	return p.lay()
}

// Warmed is AtRate behind a warm-up at the first rate.
func Warmed(n int, rate load.Plan, warmup, lasts time.Duration, seed uint64) *Plan {
	return AtRate(n, rate.After(warmup), warmup+lasts, seed)
}

// AtRate is the plan of n senders that send by turns, at a rate of all together.
func AtRate(n int, rate load.Plan, lasts time.Duration, seed uint64) *Plan {
	pacer := load.Pacer{Plan: rate, End: lasts}
	p := &Plan{Senders: n, Sends: pacer.Planned(), Seed: seed, rate: rate}
	return p.lay()
}

func (p *Plan) lay() *Plan {
	p.devices = rand.New(rand.NewPCG(p.Seed, 0x6d61726175646572)).Perm(p.Senders)
	p.places = newGround(p.Seed, p.Senders)
	return p
}

// When is the moment after the start at which send j is due. With Sleep that is so for
// the first of each sender only: the next waits for what happened to it.
func (p *Plan) When(j int64) time.Duration {
	switch {
	case p.Every == 0:
		return p.rate.When(j)
	case p.Phase == Burst:
		return time.Duration(j/int64(p.Senders)) * p.Every
	}
	return time.Duration(j/int64(p.Senders))*p.Every + time.Duration(j%int64(p.Senders))*p.Every/time.Duration(p.Senders)
}

// Turn says who sends send j, and the how manieth of it that is, from 0.
func (p *Plan) Turn(j int64) (turn int, seq uint32) {
	return int(j % int64(p.Senders)), uint32(j / int64(p.Senders))
}

// send is the opposite of Turn.
func (p *Plan) send(turn int, seq uint32) int64 { return int64(seq)*int64(p.Senders) + int64(turn) }

// each is how many updates a sender sends when sends of all are sent.
func (p *Plan) each(turn int, sends int64) uint32 {
	return uint32((sends - int64(turn) + int64(p.Senders) - 1) / int64(p.Senders))
}

// Ideal is how long the sends take when everything is on time.
func (p *Plan) Ideal() time.Duration {
	if p.Every == 0 {
		return p.When(p.Sends)
	}
	return time.Duration(p.Sends/int64(p.Senders)) * p.Every
}

// SHA256 is the same for the same sends at the same moments and places, on any machine.
func (p *Plan) SHA256() string {
	h := sha256.New()
	fmt.Fprintf(h, "fan/1 senders=%d sends=%d phase=%d pacing=%d every=%d seed=%d\n", p.Senders, p.Sends, p.Phase, p.Pacing, p.Every, p.Seed)
	var b [24]byte
	for turn, device := range p.devices {
		at := p.places.at(turn, 0)
		binary.LittleEndian.PutUint64(b[:], uint64(device))
		binary.LittleEndian.PutUint64(b[8:], uint64(p.When(int64(turn))))
		binary.LittleEndian.PutUint32(b[16:], uint32(at.Lat))
		binary.LittleEndian.PutUint32(b[20:], uint32(at.Lon))
		h.Write(b[:])
	}
	const looks = 64 // along the plan, for rates that change
	for i := range int64(looks) {
		binary.LittleEndian.PutUint64(b[:], uint64(p.When(p.Sends*i/looks)))
		h.Write(b[:8])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ground is where the senders stand: apart from each other, where degrees have the same
// number of digits. A sender goes north by a centimetre an update, and after stride of
// them east by one and back.
type ground struct{ base []geo.Point }

const stride = 1000

func newGround(seed uint64, senders int) ground {
	g := ground{make([]geo.Point, senders)}
	const golden = 0.6180339887498949
	shift := float64(seed%997) / 997
	for i := range g.base {
		turn := float64(i)*golden + shift
		lat := 10 + 49*(float64(i)+0.5)/float64(senders)
		g.base[i] = geo.Deg(lat, 100+78*(turn-float64(int64(turn))))
	}
	return g
}

// at is where sender turn is with its update seq.
func (g ground) at(turn int, seq uint32) geo.Point {
	p := g.base[turn]
	p.Lat += int32(seq % stride)
	p.Lon += int32(seq / stride)
	return p
}

// seq is the opposite of at.
func (g ground) seq(turn int, lat, lon int32) (seq uint32, ok bool) {
	north, east := lat-g.base[turn].Lat, lon-g.base[turn].Lon
	return uint32(east)*stride + uint32(north), uint32(north) < stride && uint32(east) < 1<<21
}
