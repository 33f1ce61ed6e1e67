package snap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tracker/pkg/track"
	"tracker/pkg/tui/canvas"
	"tracker/pkg/tui/fleet"
	"tracker/pkg/tui/look"
)

// ErrMasked says that places are not written into files while they are hidden on the
// screen.
var ErrMasked = errors.New("the privacy mask is on: only pictures are saved")

// Shot is all that a file can be made of, at one moment.
type Shot struct {
	Canvas *canvas.Canvas // for pictures
	Theme  *look.Theme

	Frame *fleet.Frame // for places
	Store *fleet.Store
	Which func(point int32) bool // whose places; nil is everybody's
	Trail track.DeviceID         // if not zero, where this one went, instead
	Mask  *fleet.Mask            // that was on when Canvas was drawn; nil is none
}

// Name is a name for a picture of a moment: map-20261122-142207.svg.
func Name(at time.Time, format string) string {
	return at.UTC().Format("map-20060102-150405.") + format
}

// Asked reads what a person typed for the name of a file: with an exclamation mark at
// its end, a file that is there already may be written over.
func Asked(text string) (name string, overwrite bool) {
	name, overwrite = strings.CutSuffix(strings.TrimSpace(text), "!")
	return strings.TrimSpace(name), overwrite
}

// Format is what the name of a file asks for, by how it ends: svg for map.svg.
func Format(name string) string {
	return strings.ToLower(strings.TrimPrefix(filepath.Ext(name), "."))
}

// Save writes the file that name asks for by how it ends: in one of Pictures, Places
// or Trails. A file that is there already stays as it is, unless overwrite is set; then
// it is replaced at once or not at all. Only its owner can read what is written.
func (s *Shot) Save(name string, overwrite bool) error {
	if name == "" {
		return errors.New("a file needs a name")
	}
	write, err := s.writer(Format(name))
	if err != nil {
		return fmt.Errorf("save %q: %w", name, err)
	}
	save := create
	if overwrite {
		save = replace
	}
	if err := save(name, write); err != nil {
		return fmt.Errorf("save %q: %w", name, err)
	}
	return nil
}

// writer is what writes a format.
func (s *Shot) writer(format string) (func(io.Writer) error, error) {
	places := Places
	if s.Trail != 0 {
		places = Trails
	}
	switch {
	case slices.Contains(Pictures, format):
		return func(w io.Writer) error { return Picture(w, format, s.Canvas, s.Theme) }, nil
	case !slices.Contains(places, format):
		return nil, unknown(format, append(slices.Clone(Pictures), places...))
	case s.Mask != nil && s.Mask.On:
		return nil, ErrMasked
	case s.Trail != 0:
		return func(w io.Writer) error { return Trail(w, format, s.Store, s.Trail) }, nil
	}
	return func(w io.Writer) error { return Fixes(w, format, s.Frame, s.Store, s.Which) }, nil
}

func list(words []string) string { return strings.Join(words, ", ") }

func create(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return errors.New("it is there already; with a ! after the name it is written over")
	}
	if err != nil {
		return reason(err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		_ = os.Remove(name) // half a file helps nobody
		return reason(err)
	}
	return nil
}

// replace writes beside the file and then takes its name, so that a full disk does not
// cost what was there.
func replace(name string, write func(io.Writer) error) error {
	if old, err := os.Lstat(name); err == nil && !old.Mode().IsRegular() {
		return errors.New("it is there already, and no plain file")
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".map-*")
	if err != nil {
		return reason(err)
	}
	err = errors.Join(write(f), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return reason(err)
	}
	return nil
}

// reason is an error without the path, which is said already.
func reason(err error) error {
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return path.Err
	}
	if link := (*os.LinkError)(nil); errors.As(err, &link) {
		return link.Err
	}
	return err
}
