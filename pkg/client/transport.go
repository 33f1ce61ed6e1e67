package client

import (
	"context"
	"time"

	"tracker/pkg/geo"
)

// transport is one way to ask a server. What it answers is the same on all of them.
// Its methods may be called by many goroutines at once.
type transport interface {
	status(ctx context.Context) (Status, error)

	devices(ctx context.Context, match, after string) (page []Device, next string, err error)
	device(ctx context.Context, ref string) (Device, error)
	enroll(ctx context.Context, d NewDevice) (Enrolled, error)
	enrollBatch(ctx context.Context, ds []NewDevice) ([]Enrolled, error)
	rename(ctx context.Context, ref, name string) (Device, error)
	revoke(ctx context.Context, ref string) error
	rotate(ctx context.Context, ref string) (Enrolled, error)
	resetFloor(ctx context.Context, ref string) (Device, error)

	positions(ctx context.Context, a Area, after string) (page []Fix, next string, err error)
	near(ctx context.Context, at geo.Point, within geo.Meters, limit int) ([]Hit, error)
	history(ctx context.Context, q HistoryQuery, yield func(Fix, error) bool)

	tokens(ctx context.Context) ([]Token, error)
	createToken(ctx context.Context, name, role string, ttl time.Duration) (Token, string, error)
	revokeToken(ctx context.Context, id string) error

	createMap(ctx context.Context, name string) (Map, error)
	maps(ctx context.Context, match, after string) (page []Map, next string, err error)
	showMap(ctx context.Context, ref string) (MapDetail, error)
	deleteMap(ctx context.Context, ref string) error
	changeMap(ctx context.Context, ref string, devices []string, join bool) (Map, error)
	grantMap(ctx context.Context, ref, token string, grant bool) error

	// watch begins to watch an area, behind from if the server still can. The feed is
	// the caller's to close.
	watch(ctx context.Context, a Area, from mark) (feed, error)

	// report sends fixes of a device, oldest first.
	report(ctx context.Context, device string, fixes []Fix) (accepted, late int, err error)

	closeIdle()
	close() // also what is in use
}

// mark is a place in a stream; the zero value is none.
type mark struct {
	epoch string
	seq   uint64
}

// feed is a watch on one connection. One goroutine calls next; move and close may be
// called by any.
type feed interface {
	// next waits for a message and reads it into f, whose memory it uses again.
	next(f *frame) error
	// move asks for another area. The answer, "watching" or "error", comes out of
	// next, in the order of the questions. That it could not be sent is found there,
	// too.
	move(a Area)
	// close wakes next.
	close()
}
