package gateway

import (
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	"tracker/pkg/engine"
	"tracker/pkg/rpc"
	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire/trk"
)

const (
	proofSkew   = 2 * time.Minute // that the clock of a device may be off
	proofsEach  = 64              // of one credential that are good at the same time
	proofsTotal = 1 << 18
)

// device finds who made a proof. Whoever has no key learns nothing from the answer, nor
// from how long it takes.
func (g *Gateway) device(auth []byte) (engine.Identity, error) {
	p, err := seal.ParseProof(auth)
	if err != nil {
		return engine.Identity{}, errProof
	}
	s, known := g.engine.Session(p.Device)
	good := false
	if known && !s.Hidden {
		err = g.engine.WithRoot(s.Cred, func(root *seal.Root) { good = seal.CheckProof(root, auth) })
	} else {
		g.proofs.decoy(auth)
	}
	if err != nil || !good {
		return engine.Identity{}, errProof
	}
	now := g.cfg.Now()
	if e := checkProofTime(time.Unix(int64(p.Time), 0), now); e != nil {
		return engine.Identity{}, e
	}
	if e := g.proofs.use(s.Cred, p, now); e != nil {
		return engine.Identity{}, e
	}
	who := engine.Identity{Device: s.Device, Cred: s.Cred, Role: engine.RoleDevice, Name: string(g.engine.AppendName(nil, s.Device))}
	if s.Expires != 0 {
		who.Expires = time.Unix(s.Expires, 0)
	}
	return who, nil
}

var errProof = unauthenticated("the proof is not that of a device's key")

// checkProofTime tells a device whose clock is off what time it is, so that one without
// a clock can try again.
func checkProofTime(at, now time.Time) *rpc.Error {
	off := at.Sub(now)
	if off.Abs() <= proofSkew {
		return nil
	}
	return &rpc.Error{Status: rpc.Status(trk.AppErrorProofTime), Reason: "proof_time",
		Message: fmt.Sprintf("the proof's time is %v off the server's clock, which says %s", off.Round(time.Second), now.UTC().Format(time.RFC3339)),
		Field:   strconv.FormatInt(now.UnixMilli(), 10), NotRun: true}
}

// proofs remembers what was shown while it would still be taken. Only holders of a key
// can fill it, each of them its own share.
type proofs struct {
	master  [32]byte
	wrapped [seal.WrappedLen]byte

	mu    sync.Mutex
	seen  map[track.DeviceID][]shown // by credential
	total int
}

type shown struct {
	nonce [16]byte
	until int64 // unix seconds
}

const decoyID track.DeviceID = 1

func (p *proofs) init() {
	_, _ = rand.Read(p.master[:])
	root := seal.NewRoot()
	p.wrapped = seal.Wrap(&p.master, decoyID, &root)
	p.seen = map[track.DeviceID][]shown{}
}

// decoy does for a stranger what the proof of a device would cost.
func (p *proofs) decoy(auth []byte) {
	var root seal.Root
	if seal.Unwrap(&p.master, decoyID, &p.wrapped, &root) == nil {
		seal.CheckProof(&root, auth)
	}
}

// use takes a proof that is good, once.
func (p *proofs) use(cred track.DeviceID, proof seal.Proof, now time.Time) *rpc.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine := p.seen[cred]
	for _, s := range mine {
		if s.nonce == proof.Nonce {
			return unauthenticated("the proof was shown before")
		}
	}
	if len(mine) >= proofsEach || p.total >= proofsTotal {
		return &rpc.Error{Status: rpc.ResourceExhausted, Reason: "rate_limited", Message: "too many proofs in a short time", RetryAfter: proofSkew, NotRun: true}
	}
	p.seen[cred] = append(mine, shown{proof.Nonce, int64(proof.Time) + int64(proofSkew/time.Second)})
	p.total++
	return nil
}

// forget lets go of what would be refused for its time.
func (p *proofs) forget(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for cred, all := range p.seen {
		kept := all[:0]
		for _, s := range all {
			if s.until >= now.Unix() {
				kept = append(kept, s)
			}
		}
		p.total -= len(all) - len(kept)
		if p.seen[cred] = kept; len(kept) == 0 {
			delete(p.seen, cred)
		}
	}
}
