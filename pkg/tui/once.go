package tui

import (
	"context"
	"errors"
	"io"
	"time"

	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/tty"
)

// onceWait is how long Once waits for the first snapshot before it shows what there is.
const onceWait = 10 * time.Second

// Once writes one frame to w and returns: when the first snapshot is complete, or when
// the feed ends or ten seconds have passed. On a terminal the frame has its size and
// colours; anywhere else it is plain text of 80x24, or COLUMNS and LINES.
func Once(ctx context.Context, w io.Writer, o Options) error {
	theme, glyphs, err := o.look(tty.Profile(w, o.environ()))
	if err != nil {
		return err
	}
	store := o.store()
	s, err := newScreen(&o, store, theme, glyphs)
	if err != nil {
		return err
	}
	if err := firstSnapshot(ctx, &o, store); err != nil {
		return err
	}
	s.still = true
	s.Resize(tty.Size(w, o.environ()))
	s.refresh()
	s.fit()
	frame := s.Draw(s.store.Now()).Encode(nil, theme, glyphs)
	_, err = tty.Colours(w, o.environ()).Write(append(frame, '\n'))
	return err
}

// firstSnapshot feeds the store until it has been loaded once.
func firstSnapshot(ctx context.Context, o *Options, store *fleet.Store) error {
	feeding, stop := context.WithTimeout(ctx, onceWait)
	defer stop()
	fed := startFeed(feeding, o, store)
	select {
	case <-store.Ready():
		stop()
		<-fed
		return nil
	case err := <-fed:
		return errors.Join(err, ctx.Err())
	}
}
