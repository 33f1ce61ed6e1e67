//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"image"
	"image/color"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/makiuchi-d/gozxing"
	gozxingqr "github.com/makiuchi-d/gozxing/qrcode"

	"tracker/cmd/internal/clitest"
)

var linkOnScreen = regexp.MustCompile(`https?://\S+`)

// sendFix sends a fix with the key of an enrolment. What the device has to remember from
// one to the next is in home.
func sendFix(t *testing.T, tm *terminal, home, link, lat, lon string) {
	t.Helper()
	send := exec.Command(tm.cmd.Path)
	send.Args = []string{"trackctl", "beacon", "--enrolment", link, "--lat", lat, "--lon", lon}
	send.Env = []string{"HOME=" + home}
	if out, err := send.CombinedOutput(); err != nil {
		t.Fatalf("beacon %s: %v\n%s", link, err, out)
	}
}

// loses waits until the screen does not show it any more.
func (tm *terminal) loses(unwanted string) {
	tm.t.Helper()
	for deadline := time.Now().Add(terminalPatience); strings.Contains(tm.text(), unwanted); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tm.t.Fatalf("the screen does not stop to show %q:\n%s", unwanted, tm.text())
		}
	}
}

// leftBlank holds that the other screen was blank when it was given back: there are
// terminals that keep it.
func (tm *terminal) leftBlank(cols, rows int) {
	tm.t.Helper()
	tm.mu.Lock()
	defer tm.mu.Unlock()
	raw := tm.raw.String()
	before := vt.NewEmulator(cols, rows)
	drained := make(chan struct{})
	go func() { // the answers, which nobody wants
		defer close(drained)
		var b [256]byte
		for {
			if _, err := before.Read(b[:]); err != nil {
				return
			}
		}
	}()
	_, _ = before.WriteString(raw[:strings.LastIndex(raw, leaveAlternate)])
	if left := before.String(); strings.TrimSpace(left) != "" {
		tm.t.Errorf("the other screen is left with\n%s", left)
	}
	_ = before.InputPipe().(io.Closer).Close()
	<-drained
}

func TestEnrolScreenWaitsForTheFirstFixAndShowsItOnTheMap(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	tm := open(t, d, 120, 40, "device", "enroll", "van-1", "--expires", "2m")
	tm.sees("waiting for the first fix… expires in 1:5")
	tm.sees("▀") // drawn, whatever NO_COLOR says
	link := linkOnScreen.FindString(tm.text())

	home := t.TempDir()
	sendFix(t, tm, home, link, "48.137", "11.575")
	tm.sees("van-1 has been heard")
	tm.sees("48.13700 north, 11.57500 east")
	tm.sees("in Munich")
	tm.sees("Natural Earth")
	if text := tm.text(); strings.Contains(text, "/d#1.") || strings.Contains(text, "▀") {
		t.Errorf("the code is still there:\n%s", text)
	}
	sendFix(t, tm, home, link, "48.142", "11.575") // the map is live
	tm.sees("48.14200 north")
	tm.press("\r")
	code, left := tm.ends()
	if code != exitDone || !strings.Contains(left, "was seen") || !strings.Contains(left, "48.14200") {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
	tm.clean()
	tm.leftBlank(120, 40)
}

func TestEnrolScreenLeavesOnAKeyAndKeepsTheDevice(t *testing.T) {
	t.Parallel()
	d, conn := startDaemon(t)
	for _, tc := range []struct {
		name, keys string
		code       int
	}{{"q", "q", exitDone}, {"enter", "\r", exitDone}, {"ctrl-c", "\x03", exitInterrupted}} {
		tm := open(t, d, 80, 24, "device", "enroll", "by-"+tc.name)
		tm.sees("q leaves")
		tm.press(tc.keys)
		code, left := tm.ends()
		if code != tc.code || !strings.Contains(left, "is not shown again") {
			t.Errorf("%s: code %d, want %d, and left is\n%s", tc.name, code, tc.code, left)
		}
		tm.clean()
		tm.leftBlank(80, 24)
		if dev, err := conn.Device(context.Background(), "by-"+tc.name); err != nil || dev.State != "active" {
			t.Errorf("%s: %+v, %v", tc.name, dev, err)
		}
	}
}

func TestEnrolScreenEndsWithASignal(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	tm := open(t, d, 80, 24, "device", "enroll", "van-1", "--no-wait")
	tm.sees("q leaves")
	if err := tm.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, _ := tm.ends(); code != exitInterrupted {
		t.Errorf("code %d", code)
	}
	tm.clean()
	tm.leftBlank(80, 24)
}

func TestEnrolScreenExpiresAndRevokes(t *testing.T) {
	t.Parallel()
	d, conn := startDaemon(t)
	tm := open(t, d, 80, 24, "device", "enroll", "van-1", "--expires", "1s")
	code, left := tm.ends()
	if code != exitFailed || !strings.Contains(left, "revoked again") {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
	tm.clean()
	tm.leftBlank(80, 24)
	for dev, err := range conn.Devices(context.Background(), "van-1") {
		if err != nil || dev.State == "active" {
			t.Errorf("%+v %v", dev, err)
		}
	}
}

func TestEnrolScreenFollowsTheTerminalsSize(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	tm := open(t, d, 40, 20, "device", "enroll", "van-1")
	tm.sees("one is 40x20")
	tm.resize(120, 40)
	tm.sees("▀")
	tm.press("q")
	if code, _ := tm.ends(); code != exitDone {
		t.Errorf("code %d", code)
	}
	tm.clean()
}

// The renderer between the page and the terminal must not touch a code's colours.
func TestCodeOnTheScreenCanBeScanned(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	for name, env := range map[string][]string{
		"true colour":    {"NO_COLOR=", "COLORTERM=truecolor"},
		"256 colours":    {"NO_COLOR="},
		"Linux console":  {"NO_COLOR=", "TERM=linux"},
		"without colour": {"NO_COLOR=1"},
		"without UTF-8":  {"NO_COLOR=", "LANG=C", "LC_ALL=C"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tm := openWith(t, d, 140, 60, env, "device", "enroll", "van "+name)
			tm.sees("q leaves")
			link := linkOnScreen.FindString(tm.text())
			for _, ground := range []uint8{0, 255} {
				if got, err := tm.scan(ground); err != nil || got != link {
					t.Errorf("on a ground of %d: read %q, %v, want %q", ground, got, err, link)
				}
			}
			tm.press("q")
			if code, left := tm.ends(); code != exitDone {
				t.Errorf("code %d, and left is\n%s", code, left)
			}
			tm.clean()
		})
	}
}

// scan takes a picture of the screen, of a terminal whose own background is ground, and
// reads the code in it with a strict reader.
func (tm *terminal) scan(ground uint8) (string, error) {
	const cw, ch = 4, 8
	tm.mu.Lock()
	w, h := tm.screen.Width(), tm.screen.Height()
	img := image.NewGray(image.Rect(0, 0, (w+2)*cw, (h+2)*ch))
	for i := range img.Pix {
		img.Pix[i] = ground
	}
	for y := range h {
		for x := range w {
			cell := tm.screen.CellAt(x, y)
			if cell == nil {
				continue
			}
			back, front := shade(cell.Style.Bg, ground), shade(cell.Style.Fg, ^ground)
			box := image.Rect((x+1)*cw, (y+1)*ch, (x+2)*cw, (y+2)*ch)
			paint(img, box, back)
			middle := box.Min.Y + ch/2
			switch cell.Content {
			case "█":
				paint(img, box, front)
			case "▀":
				paint(img, image.Rect(box.Min.X, box.Min.Y, box.Max.X, middle), front)
			case "▄":
				paint(img, image.Rect(box.Min.X, middle, box.Max.X, box.Max.Y), front)
			}
		}
	}
	tm.mu.Unlock()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		return "", err
	}
	res, err := gozxingqr.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		return "", err
	}
	return res.GetText(), nil
}

func shade(c color.Color, otherwise uint8) uint8 {
	if c == nil {
		return otherwise
	}
	return color.GrayModel.Convert(c).(color.Gray).Y
}

func paint(img *image.Gray, r image.Rectangle, y uint8) {
	for row := r.Min.Y; row < r.Max.Y; row++ {
		line := img.Pix[row*img.Stride+r.Min.X : row*img.Stride+r.Max.X]
		for i := range line {
			line[i] = y
		}
	}
}

func TestStatusWatchIsAScreen(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	tm := open(t, d, 80, 24, "status", "--watch", "--over", "100ms")
	tm.sees("● ok")
	tm.sees(d.TCP)
	for _, label := range []string{"taken", "dropped", "stored", "waiting", "sent", "skipped", "probe", "q quits"} {
		tm.sees(label)
	}
	tm.loses("—") // rates are known from the second answer on
	tm.resize(59, 10)
	tm.loses("calls") // the first row to go
	tm.sees("taken")
	tm.press("q")
	if code, left := tm.ends(); code != exitDone || strings.Contains(left, "taken") {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

func TestStatusWatchSeesAServerGo(t *testing.T) {
	t.Parallel()
	d, err := clitest.Start(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop() }) // again, if the test got so far
	tm := open(t, d, 80, 24, "status", "--watch", "--over", "100ms")
	tm.sees("● ok")
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	tm.sees("○ no answer for")
	tm.sees("cannot reach " + d.TCP)
	tm.sees("taken") // what was known last
	tm.press("\x03")
	if code, left := tm.ends(); code != exitDone {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

func TestStatusWatchIsRefusedBeforeItTakesTheTerminal(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	tm := open(t, d, 80, 24, "status", "--watch", "--token", "wrong")
	code, left := tm.ends()
	tm.mu.Lock()
	raw := tm.raw.String()
	tm.mu.Unlock()
	if code != exitDenied || !strings.Contains(left, "trackctl: ") || strings.Contains(raw, enterAlternate) {
		t.Errorf("code %d, and left is\n%s", code, left)
	}
}

// A program that has read enough is nobody's failure, and nothing is said of it.
func TestReadersMayLeave(t *testing.T) {
	t.Parallel()
	d, _ := startDaemon(t)
	home := t.TempDir()
	env := []string{"HOME=" + home, "TRACK_SERVER=" + d.TCP, "TRACK_TOKEN_FILE=" + filepath.Join(d.Data, "admin.token")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fleet := exec.Command(self)
	fleet.Args, fleet.Env = []string{"trackctl", "simulate", "--devices", "5", "--rate", "10"}, env
	if err := fleet.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = fleet.Process.Signal(os.Interrupt)
		_ = fleet.Wait()
	}()
	for _, args := range [][]string{{"map", "--format", "jsonl"}, {"map", "--plain"}, {"status", "--watch", "--json", "--over", "100ms"}, {"status", "--watch", "--over", "100ms"}} {
		cmd := exec.Command(self)
		cmd.Args, cmd.Env = append([]string{"trackctl"}, args...), env
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Errorf("%v: %q, %v", args, line, err)
		}
		_ = out.Close()
		if err := cmd.Wait(); err != nil || said.Len() > 0 {
			t.Errorf("%v: %v, and says %q", args, err, said.String())
		}
	}
}
