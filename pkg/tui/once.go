package tui

import (
	"context"
	"errors"
	"io"
	"time"

	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/snap"
	"tracker/pkg/tui/tty"
)

// onceWait is how long Once waits for the first snapshot before it shows what there is.
const onceWait = 10 * time.Second

// Once writes one frame to w and returns: when the first snapshot is complete, or when
// the feed ends or ten seconds have passed; of the past, when all of it is loaded, in a
// minute at most. On a terminal the frame has its size and
// colours; anywhere else it is plain text of 80x24, or COLUMNS and LINES.
func Once(ctx context.Context, w io.Writer, o Options) error {
	f, err := o.look(tty.Profile(w, o.environ()))
	if err != nil {
		return err
	}
	store := o.store()
	s, err := newScreen(&o, store, f)
	if err != nil {
		return err
	}
	if err := firstSnapshot(ctx, &o, store); err != nil {
		return err
	}
	s.still = true
	s.Resize(o.size(w))
	s.refresh()
	s.fit()
	if err := s.showThen(ctx, &o); err != nil {
		return err
	}
	picture := s.Draw(s.store.Now())
	if o.Format != "" {
		return snap.Picture(w, o.Format, picture, f.colours)
	}
	frame := picture.Encode(nil, f.theme, f.glyphs)
	_, err = tty.Colours(w, o.environ()).Write(append(frame, '\n'))
	return err
}

// size is that of the picture.
func (o *Options) size(w io.Writer) (cols, rows int) {
	if o.Cols > 0 && o.Rows > 0 {
		return o.Cols, o.Rows
	}
	return tty.Size(w, o.environ())
}

// firstSnapshot feeds the store until it has been loaded once.
func firstSnapshot(ctx context.Context, o *Options, store *fleet.Store) error {
	feeding, stop := context.WithTimeout(ctx, onceWait)
	defer stop()
	fed := startFeed(feeding, o, store, &tty.Config{})
	select {
	case <-store.Ready():
		stop()
		<-fed
		return nil
	case err := <-fed:
		return errors.Join(err, ctx.Err())
	}
}
