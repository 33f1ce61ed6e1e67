package sqlite

import (
	"log/slog"
	"sync"
	"time"

	"tracker/pkg/store"
)

// logPeriod is how often trouble that lasts is logged.
const logPeriod = 10 * time.Second

// The works that can fail and are tried again.
const (
	committing = iota
	sorting
	works
)

var workNames = [works]string{"commit", "sort"}

// health is what Status says about trouble.
type health struct {
	log *slog.Logger
	now func() time.Time

	mu       sync.Mutex
	reasons  [works]string // empty: fine
	since    time.Time
	logged   time.Time
	failures uint64

	lost       uint64 // as of when it was last logged
	lostLogged time.Time
}

func (h *health) start(log *slog.Logger, now func() time.Time) {
	h.log, h.now = log, now
	h.since = now()
}

// reason is why the store is degraded. Call with mu held.
func (h *health) reason() string {
	for _, r := range h.reasons {
		if r != "" {
			return r
		}
	}
	return ""
}

func (h *health) failed(work int, err error, status func() store.Status) {
	s := status()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if h.reason() == "" {
		h.since = now
	}
	h.reasons[work] = err.Error()
	h.failures++
	if now.Sub(h.logged) < logPeriod && !now.Before(h.logged) {
		return
	}
	h.logged = now
	h.log.Warn("storing is degraded", "work", workNames[work], "err", err,
		"since", h.since, "pending", s.Pending, "lost", s.Lost)
}

func (h *health) succeeded(work int, status func() store.Status) {
	if !h.clear(work) {
		return
	}
	s := status()
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	h.log.Info("storing resumed", "after", now.Sub(h.since), "lost", s.Lost)
	h.since, h.logged = now, time.Time{}
}

// clear reports whether that was the last trouble.
func (h *health) clear(work int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.reasons[work] == "" {
		return false
	}
	h.reasons[work] = ""
	return h.reason() == ""
}

// overflow logs, once a period, that fixes were lost.
func (h *health) overflow(lost uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	if lost == h.lost || now.Sub(h.lostLogged) < logPeriod && !now.Before(h.lostLogged) {
		return
	}
	h.log.Warn("fixes lost: they came faster than they could be stored", "lost", lost-h.lost, "total", lost)
	h.lost, h.lostLogged = lost, now
}

func (h *health) fill(s *store.Status) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.State, s.Reason, s.Since, s.Failures = store.OK, h.reason(), h.since, h.failures
	if s.Reason != "" {
		s.State = store.Degraded
	}
}
