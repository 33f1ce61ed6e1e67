package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tracker/pkg/client"
	"tracker/pkg/tui/page"
	"tracker/pkg/tui/qr"
	"tracker/pkg/tui/tty"
)

// showing is how an enrolment is handed to a person or a program. The string holds
// the device's key and the server tells it once, so each way out is chosen, never
// fallen into.
type showing struct {
	json    bool
	png     string
	svg     string
	style   string
	wait    bool
	expires time.Duration
}

func (s *showing) flags(f *pflag.FlagSet) {
	f.BoolVar(&s.json, "json", false, "print JSON with the enrolment string")
	f.StringVar(&s.png, "png", "", "write the QR code as PNG to `file`, - is standard output")
	f.StringVar(&s.svg, "svg", "", "write the QR code as SVG to `file`, - is standard output")
	f.StringVar(&s.style, "qr-style", "", "half, full or ascii; also prints the code where there is no terminal")
	f.BoolVar(&s.wait, "wait", true, "wait for the first fix; where there is no terminal, only if given")
	f.DurationVar(&s.expires, "expires", 5*time.Minute, "how long to wait for it")
	noWait := f.VarPF(negation{&s.wait}, "no-wait", "", "do not wait for the first fix")
	noWait.NoOptDefVal = "true"
}

// negation is a flag that switches another one off.
type negation struct{ of *bool }

func (n negation) String() string   { return "" }
func (n negation) Type() string     { return "bool" }
func (n negation) IsBoolFlag() bool { return true }
func (n negation) Set(s string) error {
	if s != "true" && s != "false" {
		return fmt.Errorf("want true or false")
	}
	*n.of = s == "false"
	return nil
}

// check finds mistakes before the server is asked to make a device.
func (s *showing) check() error {
	if s.style != "" {
		if _, err := qr.ParseStyle(s.style); err != nil {
			return &usageError{err}
		}
	}
	if s.expires <= 0 {
		return usagef("--expires %v: want some time", s.expires)
	}
	streams := 0
	for _, uses := range []bool{s.json, s.png == "-", s.svg == "-"} {
		if uses {
			streams++
		}
	}
	if streams > 1 {
		return usagef("--json, --png - and --svg - all want standard output: choose one")
	}
	return nil
}

func (a *app) deviceEnroll() *cobra.Command {
	var show showing
	var ask client.NewDevice
	cmd := &cobra.Command{
		Use:   "enroll NAME",
		Short: "Make a device and show its QR code",
		Long: `Makes a device on the server and shows its enrolment: the server's address, the
device's id and its key, as a QR code and as a link. On a terminal the code is shown
until the first fix arrives and leaves no trace in the scrollback; then a map shows where
the device is, until q or Enter. If no fix arrives before the code expires, the device is
revoked again. q or Enter leaves earlier and keeps it.

The key is shown this once. Whoever has it can send in the device's name.`,
		Example: `  trackctl device enroll van-1
  trackctl device enroll van-1 --json | jq -r .enrolment
  trackctl device enroll van-1 --png van-1.png --no-wait`,
		Args: wants("NAME"),
	}
	f := cmd.Flags()
	show.flags(f)
	f.IntVar(&ask.Suite, "suite", 1, "cipher: 1 ChaCha20-Poly1305, 2 AES-128-GCM")
	f.StringVar(&ask.Flags, "flags", "", "letters: c no clock, p rotating ids, m two bearers")
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		ask.Name = args[0]
		if err := show.check(); err != nil {
			return err
		}
		if ask.Suite != 1 && ask.Suite != 2 {
			return usagef("--suite %d: want 1 or 2", ask.Suite)
		}
		conn, err := a.connect()
		if err != nil {
			return err
		}
		e, err := conn.Enroll(ctx, ask)
		if err != nil {
			return about("device", ask.Name, err)
		}
		return a.hand(ctx, conn, &e, &show, f.Changed("wait"), true)
	})
	return cmd
}

func (a *app) deviceRotate() *cobra.Command {
	var show showing
	cmd := &cobra.Command{
		Use:   "rotate DEVICE",
		Short: "Give a device a new key; the old one stays good for a while",
		Long: `Gives a device a new key and shows it as enroll does. The old key stays good for the
server's grace time, and the device is told in its acknowledgements that it is over.`,
		Example: `  trackctl device rotate van-1
  trackctl device rotate van-1 --json | jq -r .enrolment`,
		Args: wants("DEVICE"),
	}
	f := cmd.Flags()
	show.flags(f)
	cmd.RunE = a.verb(func(ctx context.Context, args []string) error {
		if err := show.check(); err != nil {
			return err
		}
		conn, err := a.connect()
		if err != nil {
			return err
		}
		e, err := conn.Rotate(ctx, args[0])
		if err != nil {
			return about("device", args[0], err)
		}
		// The device may be sending with its old key: a fix says nothing of the new one.
		show.wait = show.wait && f.Changed("wait")
		return a.hand(ctx, conn, &e, &show, show.wait, false)
	})
	return cmd
}

// hand gives an enrolment out in the ways asked for. mustWait: the caller insists on
// the first fix. fresh: the device is new, and ends if its code expires unused.
func (a *app) hand(ctx context.Context, conn *client.Conn, e *client.Enrolled, s *showing, mustWait, fresh bool) error {
	code, err := qr.Encode(e.Enrolment)
	if err != nil {
		return err
	}
	if err := a.writePictures(code, s); err != nil {
		return hint(err, "%s is enrolled all the same; trackctl device rotate makes a new code", e.Device.Name)
	}
	asked := s.json || s.png != "" || s.svg != ""
	in, _ := a.in.(*os.File)
	out, _ := a.out.(*os.File)
	w := waiting{conn: conn, device: e.Device, until: time.Now().Add(s.expires), fresh: fresh}
	switch {
	case s.json:
		err = a.printJSON(e)
	case !asked && tty.Interactive(os.Environ(), in, out):
		return a.showScreen(ctx, out, code, e.Enrolment, s, &w)
	case !asked && s.style != "":
		err = a.printCode(code, e.Enrolment, s.style)
	case s.png != "-" && s.svg != "-":
		_, err = fmt.Fprintf(a.out, "%v %s\n", e.Device.ID, e.Device.Name)
		if !asked {
			a.notef("the key of %s was not shown, since there is no terminal to show it on", e.Device.Name)
			a.notef("hint: trackctl device rotate %s --json gives a new one; next time enroll with --json, --png or --svg", e.Device.Name)
		}
	}
	if err != nil || !mustWait || !s.wait {
		return err
	}
	return a.waitPlainly(ctx, &w)
}

func (a *app) writePictures(code *qr.Code, s *showing) error {
	for _, p := range []struct {
		path  string
		write func(*bytes.Buffer) error
	}{
		{s.png, func(b *bytes.Buffer) error { return code.PNG(b, 8) }},
		{s.svg, func(b *bytes.Buffer) error { return code.SVG(b) }},
	} {
		if p.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := p.write(&b); err != nil {
			return err
		}
		if err := a.writePicture(p.path, b.Bytes()); err != nil {
			return fmt.Errorf("write the QR code: %w", err)
		}
	}
	return nil
}

// writePicture writes a file that only its owner may read: the picture is a key.
func (a *app) writePicture(path string, b []byte) error {
	if path == "-" {
		_, err := a.out.Write(b)
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(writeSecret(f, b), f.Close())
}

// writeSecret takes a plain file from all but its owner before it writes: it may have been
// there already, and somebody's to read.
func writeSecret(f *os.File, b []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		if err := f.Chmod(0o600); err != nil {
			return err
		}
	}
	_, err = f.Write(b)
	return err
}

// printCode is for those who asked for the code where there is no terminal.
func (a *app) printCode(code *qr.Code, link, style string) error {
	st, err := qr.ParseStyle(style)
	if err != nil {
		return err
	}
	if err := code.Terminal(a.out, st, qr.DetectPalette(os.Environ()), qr.Quiet); err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, link)
	return err
}

// waiting is the wait for a device's first fix.
type waiting struct {
	conn   *client.Conn
	device client.Device
	until  time.Time
	fresh  bool
}

// errExpired says that nobody came.
var errExpired = errors.New("no fix came in time")

// askAgain is how long to leave a server alone that does not answer.
const askAgain = time.Second

// end is what is said when the wait is over, and what becomes of the device.
func (w *waiting) end(ctx context.Context, a *app, seen *client.Fix, err error) error {
	name := fmt.Sprintf("%s (%v)", w.device.Name, w.device.ID)
	if errors.Is(err, errExpired) {
		seen, err = w.lastWord(ctx)
	}
	switch {
	case seen != nil:
		a.notef("%s was seen: %s", name, fixLine(seen))
		return nil
	case errors.Is(err, errExpired) && w.fresh:
		if err := w.conn.Revoke(ctx, w.device.ID.String()); err != nil {
			return fmt.Errorf("revoke %s, whose code expired: %w", name, err)
		}
		return hint(fmt.Errorf("%s: %w, so it is revoked again", name, err), "enroll it again, perhaps with a longer --expires")
	case errors.Is(err, errExpired):
		return fmt.Errorf("%s: %w", name, err)
	case errors.Is(err, context.Canceled):
		a.notef("%s stays enrolled; its code is not shown again", name)
	}
	return err
}

// lastWord is the server's own, before a device is revoked: its fix may have come while
// the watch had no connection. A server that does not answer is asked again.
func (w *waiting) lastWord(ctx context.Context) (*client.Fix, error) {
	for {
		d, err := w.conn.Device(ctx, w.device.ID.String())
		switch {
		case err == nil && d.Last != nil && page.IsNew(&w.device, d.Last):
			return d.Last, nil
		case err == nil:
			return nil, errExpired
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, client.ErrUnreachable):
			return nil, err
		}
		if err := pause(ctx, askAgain); err != nil {
			return nil, err
		}
	}
}

func (a *app) waitPlainly(ctx context.Context, w *waiting) error {
	a.notef("waiting for the first fix of %s until %s", w.device.Name, w.until.UTC().Format("15:04:05Z"))
	timed, cancel := context.WithDeadline(ctx, w.until)
	defer cancel()
	seen, err := w.first(timed)
	if timed.Err() != nil && ctx.Err() == nil && seen == nil {
		err = errExpired
	}
	return w.end(ctx, a, seen, err)
}

// first waits for the first fix.
func (w *waiting) first(ctx context.Context) (*client.Fix, error) {
	watch, err := w.watch(ctx, func() {})
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	for e, err := range watch.Events() {
		if err != nil {
			return nil, err
		}
		for i := range e.Fixes {
			if page.IsNew(&w.device, &e.Fixes[i]) {
				fix := e.Fixes[i]
				return &fix, nil
			}
		}
	}
	return nil, ctx.Err()
}
