package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/load"
	"tracker/pkg/seal"
)

// fleetFlags are what replay and simulate share.
type fleetFlags struct {
	state   string
	prefix  string
	udp     string
	sockets int
	asJSON  bool
}

func (ff *fleetFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&ff.state, "state", "", "`file` that keeps the fleet's keys (default: in XDG_STATE_HOME)")
	f.StringVar(&ff.prefix, "prefix", "", "put this `text` before the devices' names")
	f.StringVar(&ff.udp, "udp", "", "send to `HOST:PORT` instead of where the enrolments say")
	f.IntVar(&ff.sockets, "sockets", 2, "`N` sockets to send from")
	f.BoolVar(&ff.asJSON, "json", false, "print the closing table as JSON")
}

// statePath is the roster's file: one for each fleet on each server.
func (ff *fleetFlags) statePath(server, fleet string) (string, error) {
	if ff.state != "" {
		return ff.state, nil
	}
	dir, err := stateDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "fleets", fileName(server), fileName(fleet)+".json"), nil
}

// fileName keeps of a text what is harmless in a file's name.
func fileName(s string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.':
			return c
		}
		return '_'
	}, s)
	if strings.Trim(name, ".") == "" {
		return "_"
	}
	return name
}

// fleet is an enrolled fleet that is sending.
type fleet struct {
	*client.Fleet
	members []load.Member
	roster  *load.Roster
	stop    context.CancelFunc
	ended   chan error
}

// raise enrols the named devices and starts a fleet of them. The caller ends it with
// close.
func (a *app) raise(ctx context.Context, conn *client.Conn, ff *fleetFlags, kind string, names []string, say *progress) (*fleet, error) {
	path, err := ff.statePath(conn.Server(), kind)
	if err != nil {
		return nil, err
	}
	roster, err := load.OpenRoster(path)
	if errors.Is(err, load.ErrFleetBusy) {
		return nil, hint(err, "wait for it, or choose other devices with --state FILE and --prefix TEXT")
	}
	if err != nil {
		return nil, err
	}
	members, how, err := roster.Muster(ctx, conn, names, func(done int) { say.step("enrolling", done, len(names), "") })
	if err != nil {
		return nil, errors.Join(err, roster.Close())
	}
	say.note("%d devices: %s", len(members), mustered(how))
	f, err := launch(ctx, ff, members)
	if err != nil {
		return nil, errors.Join(err, roster.Close())
	}
	f.roster = roster
	return f, nil
}

func mustered(how load.Mustered) string {
	var parts []string
	for _, p := range []struct {
		n    int
		word string
	}{{how.Enrolled, "enrolled"}, {how.Reused, "known from before"}, {how.Rotated, "given a new key"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.word))
		}
	}
	return strings.Join(parts, ", ")
}

// launch starts a fleet of members; device i of it is member i.
func launch(ctx context.Context, ff *fleetFlags, members []load.Member) (*fleet, error) {
	fl := client.NewFleet(client.FleetConfig{Addr: ff.udp, Sockets: max(1, ff.sockets)})
	for i := range members {
		e, err := seal.ParseEnrolment(members[i].Enrolment)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", members[i].Name, err)
		}
		if _, err := fl.Add(e); err != nil {
			return nil, fmt.Errorf("%s: %w", members[i].Name, err)
		}
	}
	ctx, stop := context.WithCancel(ctx)
	f := &fleet{Fleet: fl, members: members, stop: stop, ended: make(chan error, 1)}
	go func() { f.ended <- fl.Run(ctx) }() // close waits for it
	return f, nil
}

// close stops the fleet and returns what went wrong with it.
func (f *fleet) close() error {
	f.stop()
	return errors.Join(<-f.ended, f.roster.Close())
}

// progress tells on standard error how a long command gets on: on a terminal in one
// line that is written over, elsewhere in a new line every few seconds.
type progress struct {
	a        *app
	terminal bool
	last     time.Time
	open     bool // a line is there that wants to be written over
}

func (a *app) progress() *progress {
	_, tty := isTerminal(a.err)
	return &progress{a: a, terminal: tty && os.Getenv("TERM") != "dumb"}
}

const (
	everyOnTerminal = 200 * time.Millisecond
	everyElsewhere  = 5 * time.Second
)

// step says how far something is, not more often than anybody can read.
func (p *progress) step(what string, done, of int, more string) {
	every := everyElsewhere
	if p.terminal {
		every = everyOnTerminal
	}
	if now := time.Now(); now.Sub(p.last) < every {
		return
	} else if p.last.IsZero() && !p.terminal {
		p.last = now // the first few seconds need no word
		return
	} else {
		p.last = now
	}
	line := fmt.Sprintf("%s %d/%d%s", what, done, of, more)
	if of == 0 {
		line = fmt.Sprintf("%s %d%s", what, done, more)
	}
	if !p.terminal {
		p.a.notef("%s", line)
		return
	}
	fmt.Fprintf(p.a.err, "\r\x1b[K%s", line)
	p.open = true
}

// note says something that stays.
func (p *progress) note(format string, args ...any) {
	p.clear()
	p.a.notef(format, args...)
}

// clear takes the line away that is written over.
func (p *progress) clear() {
	if p.open {
		fmt.Fprint(p.a.err, "\r\x1b[K")
		p.open = false
	}
}
