package qr

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/makiuchi-d/gozxing"
	gozxingqr "github.com/makiuchi-d/gozxing/qrcode"
)

const enrolment = "https://track.example.org/d#1.AAECAwQF.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8.1"

// capacity is how many bytes versions 1 to 15 hold at level M.
var capacity = [...]int{0, 14, 26, 42, 62, 84, 106, 122, 152, 180, 213, 251, 287, 331, 362, 412}

func textFor(version int) string {
	s := "https://track.example.org/d#"
	for len(s) < capacity[version] {
		s += string("abcdefghijklmnopqrstuvwxyz_-"[len(s)*7%28])
	}
	return s[:capacity[version]]
}

func encode(t testing.TB, text string) *Code {
	t.Helper()
	c, err := Encode(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// scan reads a picture with a strict reader.
func scan(t testing.TB, img image.Image) (string, error) {
	t.Helper()
	bitmap, err := gozxing.NewBinaryBitmapFromImage(img)
	if err != nil {
		t.Fatal(err)
	}
	res, err := gozxingqr.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		return "", err
	}
	return res.GetText(), nil
}

func mustScan(t testing.TB, what string, img image.Image, want string) {
	t.Helper()
	if got, err := scan(t, img); err != nil || got != want {
		t.Errorf("%s: read %q, %v, want %q", what, got, err, want)
	}
	zbar(t, what, img, want)
}

// zbar reads the picture with a second, independent reader if it is installed.
func zbar(t testing.TB, what string, img image.Image, want string) {
	t.Helper()
	if _, err := exec.LookPath("zbarimg"); err != nil {
		return // TestSecondReader says so
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("zbarimg", "-q", "--raw", "--nodbus", "-Sdisable", "-Sqrcode.enable", "png:-")
	cmd.Stdin = &b
	out, err := cmd.Output()
	if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != want {
		t.Errorf("%s: zbarimg read %q, %v, want %q", what, got, err, want)
	}
}

func TestSecondReader(t *testing.T) {
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Skip("zbarimg is not installed (apt-get install zbar-tools): codes were read by gozxing only")
	}
}

func TestEncodeTakesTheVersionThatTheTextNeeds(t *testing.T) {
	for version := 1; version <= 15; version++ {
		if got := encode(t, textFor(version)).Version; got != version {
			t.Errorf("%d bytes: version %d, want %d", capacity[version], got, version)
		}
	}
	if got := encode(t, enrolment).Version; got != 5 {
		t.Errorf("an enrolment string needs version %d, want 5", got)
	}
	// At level M a code holds at most 2331 bytes, at level L 2953.
	if got := encode(t, strings.Repeat("x", 2900)).Version; got != 40 {
		t.Errorf("2900 bytes: version %d, want 40", got)
	}
	for _, text := range []string{"", strings.Repeat("x", 3000)} {
		if _, err := Encode(text); err == nil {
			t.Errorf("no error for %d bytes", len(text))
		}
	}
}

func TestPicturesDecode(t *testing.T) {
	for version := 1; version <= 15; version++ {
		text := textFor(version)
		c := encode(t, text)

		var b bytes.Buffer
		if err := c.PNG(&b, 4); err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		mustScan(t, fmt.Sprintf("version %d png", version), img, text)

		b.Reset()
		if err := c.SVG(&b); err != nil {
			t.Fatal(err)
		}
		mustScan(t, fmt.Sprintf("version %d svg", version), rasteriseSVG(t, b.Bytes(), 4), text)
	}
	mustScan(t, "utf-8", pictureOf(t, encode(t, "Lkw Süd 🚚")), "Lkw Süd 🚚")
}

func pictureOf(t testing.TB, c *Code) image.Image {
	t.Helper()
	var b bytes.Buffer
	if err := c.PNG(&b, 5); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestPNGIsOneBitDeepAndHasAQuietZone(t *testing.T) {
	c := encode(t, enrolment)
	var b bytes.Buffer
	if err := c.PNG(&b, 3); err != nil {
		t.Fatal(err)
	}
	if depth := b.Bytes()[24]; depth != 1 {
		t.Errorf("bit depth %d, want 1", depth)
	}
	img := pictureOf(t, c)
	if want := (37 + 8) * 5; img.Bounds().Dx() != want || img.Bounds().Dy() != want {
		t.Errorf("size %v, want %d", img.Bounds(), want)
	}
	for i := range img.Bounds().Dx() {
		for j := range 4 * 5 {
			if r, _, _, _ := img.At(i, j).RGBA(); r == 0 {
				t.Fatalf("dark pixel at %d,%d in the quiet zone", i, j)
			}
		}
	}
	for _, px := range []int{0, -1, 65} {
		if err := c.PNG(io.Discard, px); err == nil {
			t.Errorf("no error for %d pixels a module", px)
		}
	}
}

func rasteriseSVG(t testing.TB, svg []byte, px int) image.Image {
	t.Helper()
	var doc struct {
		ViewBox string `xml:"viewBox,attr"`
		Path    struct {
			D string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal(svg, &doc); err != nil {
		t.Fatal(err)
	}
	side, err := strconv.Atoi(strings.Fields(doc.ViewBox)[2])
	if err != nil {
		t.Fatal(err)
	}
	img := paper(side*px, side*px, color.White)
	for _, m := range regexp.MustCompile(`M(\d+) (\d+)\.5h(\d+)`).FindAllStringSubmatch(doc.Path.D, -1) {
		x, _ := strconv.Atoi(m[1])
		y, _ := strconv.Atoi(m[2])
		run, _ := strconv.Atoi(m[3])
		paint(img, image.Rect(x*px, y*px, (x+run)*px, (y+1)*px), color.Black)
	}
	return img
}

func paper(w, h int, c color.Color) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, w, h))
	paint(img, img.Bounds(), c)
	return img
}

func paint(img *image.Gray, r image.Rectangle, c color.Color) {
	y := color.GrayModel.Convert(c).(color.Gray).Y
	for row := r.Min.Y; row < r.Max.Y; row++ {
		line := img.Pix[row*img.Stride+r.Min.X : row*img.Stride+r.Max.X]
		for i := range line {
			line[i] = y
		}
	}
}

// screenshot shows text in a terminal emulator and paints its cells, 4x8 pixels each
// and gap pixels between the lines, on a terminal of the given colours.
func screenshot(t testing.TB, text string, cols, rows, gap int, fg, bg color.Color) image.Image {
	t.Helper()
	const cw, ch = 4, 8
	// A column and a row to spare, so that the terminal's own colour shows around.
	e := vt.NewEmulator(cols+2, rows+2)
	defer e.Close()
	if _, err := e.WriteString("\r\n" + strings.ReplaceAll(" "+strings.TrimSuffix(text, "\n"), "\n", "\r\n ")); err != nil {
		t.Fatal(err)
	}
	img := paper((cols+2)*cw, (rows+2)*(ch+gap), bg)
	for y := range rows + 2 {
		for x := range cols + 2 {
			cell := e.CellAt(x, y)
			ink, back := fg, bg
			if cell == nil {
				continue
			}
			if cell.Style.Fg != nil {
				ink = cell.Style.Fg
			}
			if cell.Style.Bg != nil {
				back = cell.Style.Bg
			}
			box := image.Rect(x*cw, y*(ch+gap), (x+1)*cw, y*(ch+gap)+ch)
			paint(img, image.Rect(box.Min.X, box.Min.Y, box.Max.X, box.Max.Y+gap), back)
			switch cell.Content {
			case "█":
				paint(img, box, ink)
			case "▀":
				paint(img, image.Rect(box.Min.X, box.Min.Y, box.Max.X, box.Min.Y+ch/2), ink)
			case "▄":
				paint(img, image.Rect(box.Min.X, box.Min.Y+ch/2, box.Max.X, box.Max.Y), ink)
			case "#":
				paint(img, box, ink)
			}
		}
	}
	return img
}

var (
	black = color.RGBA{0, 0, 0, 255}
	white = color.RGBA{255, 255, 255, 255}
)

func TestTerminalDecodesOnDarkAndLight(t *testing.T) {
	for version := 1; version <= 15; version++ {
		text := textFor(version)
		c := encode(t, text)
		for _, tt := range []struct {
			style  Style
			quiet  int
			fg, bg color.RGBA
		}{
			{Half, Quiet, white, black}, {Half, Quiet, black, white},
			{Half, Tight, white, black}, {Full, Quiet, white, black}, {Full, Tight, black, white},
		} {
			p := Palette(version % 3)
			var b strings.Builder
			if err := c.Terminal(&b, tt.style, p, tt.quiet); err != nil {
				t.Fatal(err)
			}
			cols, rows := c.Size(tt.style, tt.quiet)
			what := fmt.Sprintf("version %d %v palette %d quiet %d on %v", version, tt.style, p, tt.quiet, tt.bg)
			img := screenshot(t, b.String(), cols, rows, 0, tt.fg, tt.bg)
			if got, err := scan(t, img); err != nil || got != text {
				t.Errorf("%s: read %q, %v, want %q", what, got, err, text)
			}
			if tt.style == Half && tt.quiet == Quiet {
				zbar(t, what, img, text)
			}
		}
	}
}

func TestEnrolmentDecodesInEveryPalette(t *testing.T) {
	c := encode(t, enrolment)
	for _, p := range []Palette{TrueColor, Colors16, Colors8} {
		var b strings.Builder
		if err := c.Terminal(&b, Half, p, Quiet); err != nil {
			t.Fatal(err)
		}
		for _, bg := range []color.Color{black, white} {
			mustScan(t, fmt.Sprintf("palette %d on %v", p, bg), screenshot(t, b.String(), 45, 23, 0, white, bg), enrolment)
		}
	}
}

// Fonts with line spacing tear half blocks apart; colours of whole cells hold.
func TestFullStyleSurvivesLineSpacing(t *testing.T) {
	c := encode(t, enrolment)
	var b strings.Builder
	if err := c.Terminal(&b, Full, TrueColor, Quiet); err != nil {
		t.Fatal(err)
	}
	mustScan(t, "full, 3 pixels apart", screenshot(t, b.String(), 90, 45, 3, white, black), enrolment)
}

func TestASCIIDecodesAsDarkOnLight(t *testing.T) {
	c := encode(t, enrolment)
	var b strings.Builder
	if err := c.Terminal(&b, ASCII, TrueColor, Quiet); err != nil {
		t.Fatal(err)
	}
	for i := range len(b.String()) {
		if ch := b.String()[i]; ch != '#' && ch != ' ' && ch != '\n' {
			t.Fatalf("byte %q in the ascii style", ch)
		}
	}
	mustScan(t, "ascii", screenshot(t, b.String(), 90, 45, 0, black, white), enrolment)
}

func TestSizeAndFit(t *testing.T) {
	c := encode(t, enrolment) // version 5, 37 modules
	for _, tt := range []struct {
		style      Style
		quiet      int
		cols, rows int
	}{
		{Half, Quiet, 45, 23}, {Half, Tight, 41, 21}, {Full, Quiet, 90, 45}, {ASCII, Quiet, 90, 45},
	} {
		cols, rows := c.Size(tt.style, tt.quiet)
		if cols != tt.cols || rows != tt.rows {
			t.Errorf("%v quiet %d: %dx%d, want %dx%d", tt.style, tt.quiet, cols, rows, tt.cols, tt.rows)
		}
		var b strings.Builder
		if err := c.Terminal(&b, tt.style, Colors16, tt.quiet); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(b.String(), "\n"); got != rows {
			t.Errorf("%v quiet %d: wrote %d lines, want %d", tt.style, tt.quiet, got, rows)
		}
	}
	for _, tt := range []struct {
		style      Style
		cols, rows int
		quiet      int
		ok         bool
	}{
		{Half, 80, 23, Quiet, true}, {Half, 80, 22, Tight, true}, {Half, 42, 23, Tight, true},
		{Half, 40, 23, 0, false}, {Half, 80, 20, 0, false}, {Full, 80, 24, 0, false}, {Full, 120, 45, Quiet, true},
	} {
		if quiet, ok := c.Fit(tt.style, tt.cols, tt.rows); quiet != tt.quiet || ok != tt.ok {
			t.Errorf("%v in %dx%d: %d, %v, want %d, %v", tt.style, tt.cols, tt.rows, quiet, ok, tt.quiet, tt.ok)
		}
	}
}

// A side is an odd number of modules: the half of a cell that is left over must be as
// light as the quiet zone, also where the quiet zone is all there is to see.
func TestOddRowIsPaddedWithLight(t *testing.T) {
	c := encode(t, enrolment)
	for _, quiet := range []int{0, 1, 4} {
		var b strings.Builder
		if err := c.Terminal(&b, Half, Colors16, quiet); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if last := lines[len(lines)-1]; strings.ContainsAny(last, "█▄") {
			t.Errorf("quiet %d: the last line draws below the code: %q", quiet, last)
		}
		for i, l := range lines {
			if !strings.HasPrefix(l, "\x1b[30;107m") || !strings.HasSuffix(l, "\x1b[m") {
				t.Errorf("quiet %d: line %d does not set and take back its colours: %q", quiet, i, l)
			}
		}
	}
}

func TestDetectPalette(t *testing.T) {
	for _, tt := range []struct {
		env  string
		want Palette
	}{
		{"TERM=xterm-256color COLORTERM=truecolor", TrueColor},
		{"TERM=xterm-256color", Colors16},
		{"TERM=tmux-256color COLORTERM=24bit", TrueColor},
		{"TERM=xterm-direct", TrueColor},
		{"TERM=linux", Colors8},
		{"TERM=vt220", Colors8},
		{"", Colors8},
		{"TERM=xterm-256color COLORTERM=truecolor NO_COLOR=1", TrueColor},
	} {
		if got := DetectPalette(strings.Fields(tt.env)); got != tt.want {
			t.Errorf("%q: %d, want %d", tt.env, got, tt.want)
		}
	}
}

func TestParseStyle(t *testing.T) {
	for _, s := range []Style{Half, Full, ASCII} {
		if got, err := ParseStyle(s.String()); got != s || err != nil {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	if _, err := ParseStyle("big"); err == nil {
		t.Error("no error for a style that is none")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add(enrolment)
	f.Add("0123456789")
	f.Add("Süd \x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Encode(text)
		if err != nil {
			return
		}
		if c.n != 17+4*c.Version {
			t.Fatalf("version %d has %d modules", c.Version, c.n)
		}
		if err := c.Terminal(io.Discard, Half, TrueColor, Quiet); err != nil {
			t.Fatal(err)
		}
	})
}
