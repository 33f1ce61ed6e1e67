package seal_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tracker/pkg/seal"
	"tracker/pkg/track"
	"tracker/pkg/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/vectors.json and its table in docs/protocol.md")

const (
	testdata     = "../../testdata"
	vectorsFile  = testdata + "/vectors.json"
	protocolFile = "../../docs/protocol.md"
)

// vector is one entry of testdata/vectors.json. Kind says which fields are there;
// docs/protocol.md describes them.
type vector struct {
	Name  string `json:"name"`
	Kind  string `json:"kind"`
	Note  string `json:"note,omitempty"`
	Error string `json:"error,omitempty"` // what refuses it, by the name of the server's counter

	Suite     int     `json:"suite,omitempty"`
	Root      string  `json:"root,omitempty"`
	ID        string  `json:"id,omitempty"`
	Epoch     *uint32 `json:"epoch,omitempty"`
	PID       *uint32 `json:"pid,omitempty"`
	Window    *uint32 `json:"window,omitempty"`
	Info      string  `json:"info,omitempty"`
	OKM       string  `json:"okm,omitempty"`
	Nonce     string  `json:"nonce,omitempty"`
	AAD       string  `json:"aad,omitempty"`
	Plaintext string  `json:"plaintext,omitempty"`
	Wire      string  `json:"wire,omitempty"`

	Body *body      `json:"body,omitempty"`
	Ack  *ackFields `json:"ack,omitempty"`

	CM     []int          `json:"cm,omitempty"`
	Encode []accuracyPair `json:"encode,omitempty"`

	Recovered *uint32     `json:"recovered,omitempty"`
	Floor     *uint32     `json:"floor,omitempty"`
	Live      []liveEpoch `json:"live,omitempty"`
	Max       *uint32     `json:"max,omitempty"`
	Bitmap    *uint16     `json:"bitmap,omitempty"`

	Text    string  `json:"text,omitempty"`
	Host    string  `json:"host,omitempty"`
	Flags   *string `json:"flags,omitempty"`
	Storage *bool   `json:"storage,omitempty"`
	Steps   []step  `json:"steps,omitempty"`
}

type body struct {
	Ack   bool        `json:"ack"`
	Fixes []fixFields `json:"fixes"` // newest first
	TLVs  [][2]any    `json:"tlvs,omitempty"`
}

type fixFields struct {
	TimeMS  int64   `json:"time_ms"`
	Lat     *int32  `json:"lat_e7,omitempty"`
	Lon     *int32  `json:"lon_e7,omitempty"`
	Alt     *int16  `json:"alt_m,omitempty"`
	Speed   *uint16 `json:"speed_cms,omitempty"`
	Course  *uint16 `json:"course_cdeg,omitempty"`
	Acc     *uint8  `json:"accuracy_code,omitempty"`
	Battery *int    `json:"battery_pct,omitempty"`
	Power   *bool   `json:"power,omitempty"`
	Event   uint8   `json:"event,omitempty"`
}

type ackFields struct {
	Status int    `json:"status"`
	Time   uint32 `json:"time"`
	Max    uint32 `json:"max"`
	Bitmap uint16 `json:"bitmap"`
}

type accuracyPair struct {
	CM   float64 `json:"cm"`
	Code int     `json:"code"`
}

type liveEpoch struct {
	Epoch uint32 `json:"epoch"`
	Max   uint32 `json:"max_pid"`
}

// step is one line of a script: of a window, of epochs, or of a device.
type step struct {
	Do      string  `json:"do,omitempty"`
	Clock   *int64  `json:"clock,omitempty"`
	Trusted *bool   `json:"trusted,omitempty"`
	Stored  *uint32 `json:"stored,omitempty"`
	Cut     string  `json:"cut,omitempty"`
	Status  int     `json:"status,omitempty"`
	Time    uint32  `json:"time,omitempty"`
	ID      string  `json:"id,omitempty"`
	Epoch   *uint32 `json:"epoch,omitempty"`
	PID     *uint32 `json:"pid,omitempty"`
	Result  string  `json:"result,omitempty"`
}

// counterName is what the server counts a refusal as.
func counterName(err error) string {
	for _, n := range []struct {
		err  error
		name string
	}{
		{nil, "ok"},
		{seal.ErrLength, "bad_len"}, {seal.ErrVersion, "bad_version"}, {seal.ErrSuite, "bad_suite"},
		{seal.ErrAuth, "auth_fail"}, {seal.ErrReplay, "replay"}, {seal.ErrTooOld, "too_old"},
		{seal.ErrEpochOld, "epoch_old"}, {wire.ErrMalformed, "malformed"},
		{seal.ErrNoClock, "no_clock"}, {seal.ErrNoEpoch, "no_epoch"},
	} {
		if err == n.err || n.err != nil && errors.Is(err, n.err) {
			return n.name
		}
	}
	var wait *seal.TooSoonError
	if errors.As(err, &wait) {
		return "too_soon"
	}
	return "unexpected: " + err.Error()
}

func bodyFields(b *track.Batch, ack bool) *body {
	out := &body{Ack: ack}
	for i := len(b.Fixes) - 1; i >= 0; i-- {
		out.Fixes = append(out.Fixes, fieldsOf(&b.Fixes[i]))
	}
	for t, v := range wire.TLVs(b.Ext) {
		out.TLVs = append(out.TLVs, [2]any{float64(t), hex.EncodeToString(v)})
	}
	return out
}

func fieldsOf(f *track.Fix) fixFields {
	o := fixFields{TimeMS: f.Time, Event: uint8(f.Event)}
	if f.Has&track.HasPos != 0 {
		o.Lat, o.Lon = &f.At.Lat, &f.At.Lon
	}
	if f.Has&track.HasAlt != 0 {
		o.Alt = &f.Alt
	}
	if f.Has&track.HasVel != 0 {
		o.Speed, o.Course = &f.Speed, &f.Course
	}
	if f.Has&track.HasAcc != 0 {
		o.Acc = &f.Acc
	}
	if f.Has&track.HasBat != 0 {
		o.Power = ptr(f.Bat&0x80 != 0)
		if pct, ok := f.BatteryPercent(); ok {
			o.Battery = &pct
		}
	}
	return o
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Format  int      `json:"format"`
		About   string   `json:"about"`
		Vectors []vector `json:"vectors"`
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if file.Format != 1 {
		t.Fatalf("vectors of format %d", file.Format)
	}
	return file.Vectors
}

func TestVectorsAreUpToDate(t *testing.T) {
	want := printVectors(t, makeVectors(t))
	if *update {
		if err := os.WriteFile(vectorsFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		updateTable(t)
	}
	got, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what the code makes; if that is meant: go test ./pkg/seal -run Vectors -update", vectorsFile)
	}
}

// printVectors puts each field on its own line and no more, so that people and
// diffs can read it.
func printVectors(t testing.TB, vectors []vector) []byte {
	var b bytes.Buffer
	b.WriteString("{\n\"format\": 1,\n\"about\": \"Test vectors of datagram v1. The reference is docs/protocol.md; bytes are hex.\",\n\"vectors\": [\n")
	for i, v := range vectors {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.Token() // {
		sep := "{\n"
		for d.More() {
			key, _ := d.Token()
			var value json.RawMessage
			if err := d.Decode(&value); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\t%q: %s", sep, key, value)
			sep = ",\n"
		}
		b.WriteString("\n}")
		if i < len(vectors)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n}\n")
	return b.Bytes()
}

func TestVectorsHold(t *testing.T) {
	names := map[string]bool{}
	for _, v := range loadVectors(t) {
		if names[v.Name] {
			t.Errorf("two vectors are called %q", v.Name)
		}
		names[v.Name] = true
		t.Run(strings.ReplaceAll(v.Name, "/", "|"), func(t *testing.T) { checkVector(t, &v) })
	}
	if len(names) < 150 {
		t.Errorf("only %d vectors", len(names))
	}
}

func checkVector(t *testing.T, v *vector) {
	switch v.Kind {
	case "keys":
		v.keys(t)
	case "rotating_id":
		if got := seal.RotatingID((*seal.Root)(unhex(t, v.Root)), *v.Window); got.String() != v.ID || *v.Epoch>>16 != *v.Window {
			t.Errorf("got %s", got)
		}
	case "report":
		checkReport(t, v)
	case "datagram":
		if got := receive(t, v, unhex(t, v.Wire)); got != v.Error {
			t.Errorf("got %s, want %s", got, v.Error)
		}
	case "ack":
		checkAck(t, v)
	case "accuracy":
		for code, want := range v.CM {
			if cm, worse := wire.AccuracyCM(uint8(code)); cm != want || worse != (code == 255) {
				t.Errorf("code %d: got %d, %v", code, cm, worse)
			}
		}
		for _, p := range v.Encode {
			if got := wire.AccuracyCode(p.CM); int(got) != p.Code {
				t.Errorf("%g cm: got %d, want %d", p.CM, got, p.Code)
			}
		}
	case "window", "epochs":
		checkScript(t, v)
	case "device":
		compare(t, playDevice(t, v, v.Steps), v.Steps)
	case "enrolment":
		checkEnrolment(t, v)
	default:
		t.Errorf("unknown kind %q", v.Kind)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compare(t *testing.T, got, want any) {
	t.Helper()
	g, _ := json.Marshal(got)
	w, _ := json.Marshal(want)
	if !bytes.Equal(g, w) {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func (v *vector) device(t testing.TB) track.DeviceID {
	id, err := track.ParseDeviceID(v.ID)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (v *vector) keys(t *testing.T) seal.Keys {
	k := seal.Derive((*seal.Root)(unhex(t, v.Root)), seal.Suite(v.Suite), v.device(t), *v.Epoch)
	if got := hex.EncodeToString(k.Up[:]) + hex.EncodeToString(k.Ack[:]); got != v.OKM {
		t.Errorf("OKM: got %s, want %s", got, v.OKM)
	}
	return k
}

func checkReport(t *testing.T, v *vector) {
	k := v.keys(t)
	h := seal.Header{Suite: seal.Suite(v.Suite), Device: v.device(t), Epoch: *v.Epoch, PID: *v.PID}
	plain, want := unhex(t, v.Plaintext), unhex(t, v.Wire)
	if got, err := seal.Seal(nil, h, &k, plain); err != nil || !bytes.Equal(got, want) {
		t.Errorf("seal: got %x, %v", got, err)
	}
	if got, err := seal.ParseHeader(want); err != nil || got != h {
		t.Errorf("header: got %+v, %v", got, err)
	}
	if v.AAD != v.Wire[:28] || v.Nonce != v.Wire[4:28] {
		t.Errorf("aad %s, nonce %s", v.AAD, v.Nonce)
	}
	var o seal.Opener
	if got, err := o.Open(nil, h.Suite, &k.Up, want); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("open: got %x, %v", got, err)
	}
	var b track.Batch
	ack, err := wire.DecodeBody(&b, plain)
	if v.Error != "" {
		if counterName(err) != v.Error {
			t.Errorf("decode: got %v, want %s", err, v.Error)
		}
		return
	}
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	compare(t, bodyFields(&b, ack), v.Body)
}

// receive is the server of one device that has never sent anything.
func receive(t *testing.T, v *vector, pkt []byte) string {
	h, err := seal.ParseHeader(pkt)
	if err != nil {
		return counterName(err)
	}
	if h.Device != v.device(t) {
		return "unknown_id"
	}
	k := seal.Derive((*seal.Root)(unhex(t, v.Root)), seal.Suite(v.Suite), h.Device, h.Epoch)
	var o seal.Opener
	_, err = o.Open(nil, seal.Suite(v.Suite), &k.Up, pkt)
	return counterName(err)
}

func checkAck(t *testing.T, v *vector) {
	k := v.keys(t)
	waiting := seal.Header{Suite: seal.Suite(v.Suite), Device: v.device(t), Epoch: *v.Epoch, PID: *v.PID}
	h, a, err := seal.OpenAck(unhex(t, v.Wire), func(h seal.Header) *[32]byte {
		if h != waiting {
			return nil
		}
		return &k.Ack
	})
	if v.Error != "" {
		got := counterName(err)
		if errors.Is(err, seal.ErrReplay) {
			got = "not_pending"
		}
		if got != v.Error {
			t.Errorf("got %s, want %s", got, v.Error)
		}
		return
	}
	want := seal.Ack{Status: seal.AckStatus(v.Ack.Status), Time: v.Ack.Time, Max: v.Ack.Max, Bitmap: v.Ack.Bitmap}
	if err != nil || h != waiting || a != want {
		t.Errorf("got %+v %+v, %v", h, a, err)
	}
	if got := hex.EncodeToString(seal.AppendAck(nil, waiting, want, &k.Ack)); got != v.Wire {
		t.Errorf("append: got %s", got)
	}
}

func checkScript(t *testing.T, v *vector) {
	e := seal.Epochs{}
	if v.Floor != nil {
		e.Floor = *v.Floor
	}
	if v.Recovered != nil {
		e.Newest = seal.Recovered(epoch0, *v.Recovered)
	}
	for i, l := range v.Live {
		*[]*seal.Window{&e.Newest, &e.Older}[i] = seal.Recovered(l.Epoch, l.Max)
	}
	for i, s := range v.Steps {
		epoch := epoch0
		if s.Epoch != nil {
			epoch = *s.Epoch
		}
		if got := windowStep(&e, epoch, *s.PID); got.Result != s.Result {
			t.Errorf("step %d, epoch %d pid %d: got %s, want %s", i, epoch, *s.PID, got.Result, s.Result)
		}
	}
	if v.Max != nil {
		if highest, bitmap := e.Newest.Seen(); highest != *v.Max || bitmap != *v.Bitmap {
			t.Errorf("seen: got %d %04x, want %d %04x", highest, bitmap, *v.Max, *v.Bitmap)
		}
	}
}

func checkEnrolment(t *testing.T, v *vector) {
	e, err := seal.ParseEnrolment(v.Text)
	if v.Error != "" {
		if err == nil {
			t.Errorf("accepted as %v", e.LogValue())
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if e.Host != v.Host || e.Device != v.device(t) || hex.EncodeToString(e.Root[:]) != v.Root || int(e.Suite) != v.Suite || e.Flags.String() != *v.Flags {
		t.Errorf("got %v", e.LogValue())
	}
	if e.String() != v.Text {
		t.Errorf("spelt differently again")
	}
}

// bench is the world of one device trace: its storage, its clock, and a saw for the
// power cord.
type bench struct {
	stored  uint32
	cut     string
	clock   time.Time
	trusted bool
}

type powerCut struct{}

func (b *bench) Reserve(atLeast uint32) (uint32, error) {
	if b.cut == "before_write" {
		panic(powerCut{})
	}
	epoch, err := seal.NextEpoch(b.stored, atLeast)
	if err != nil {
		return 0, err
	}
	b.stored = epoch
	if b.cut == "after_write" {
		panic(powerCut{})
	}
	return epoch, nil
}

// playDevice runs a Sender through a trace and returns the steps with what came of
// each.
func playDevice(t testing.TB, v *vector, steps []step) (out []step) {
	flags, err := seal.ParseFlags(*v.Flags)
	if err != nil {
		t.Fatal(err)
	}
	var b bench
	var s *seal.Sender
	var last seal.Header
	for _, st := range steps {
		st.ID, st.Epoch, st.Result = "", nil, ""
		switch st.Do {
		case "boot":
			b.clock, b.trusted = time.Unix(*st.Clock, 0), *st.Trusted
			cfg := seal.SenderConfig{
				Enrolment: seal.Enrolment{Device: v.device(t), Root: seal.Root(unhex(t, v.Root)), Suite: seal.Suite(v.Suite), Flags: flags},
				Clock:     func() (time.Time, bool) { return b.clock, b.trusted },
			}
			if *v.Storage {
				cfg.Epochs = &b
			}
			if s, err = seal.NewSender(cfg); err != nil {
				t.Fatal(err)
			}
		case "clock":
			b.clock, b.trusted = time.Unix(*st.Clock, 0), *st.Trusted
		case "restore":
			b.stored = *st.Stored
		case "skip":
			s.SkipTo(*st.PID)
		case "send":
			st.PID = nil
			b.cut = st.Cut
			if h, result := sendOrDie(s); result != "ok" {
				st.Result = result
			} else {
				last = h
				st.Result, st.ID, st.Epoch, st.PID = result, h.Device.String(), &h.Epoch, &h.PID
			}
			b.cut = ""
		case "ack":
			k := seal.Derive((*seal.Root)(unhex(t, v.Root)), last.Suite, last.Device, last.Epoch)
			ack := seal.AppendAck(nil, last, seal.Ack{Status: seal.AckStatus(st.Status), Time: st.Time}, &k.Ack)
			if _, _, err := s.OpenAck(ack); err != nil {
				t.Errorf("ack: %v", err)
			}
		default:
			t.Fatalf("unknown step %q", st.Do)
		}
		out = append(out, st)
	}
	return out
}

func sendOrDie(s *seal.Sender) (h seal.Header, result string) {
	defer func() {
		switch r := recover(); r.(type) {
		case nil:
		case powerCut:
			result = "power_cut"
		default:
			panic(r)
		}
	}()
	_, h, err := s.Seal(nil, make([]byte, seal.MinBody))
	return h, counterName(err)
}

// TestPublishedVectors: these bytes are on paper elsewhere, and other
// implementations have confirmed them.
func TestPublishedVectors(t *testing.T) {
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"5d0f48c6bd430721edfb953d99731c2d61cbc1c9fb8da946a7662df18ac87524e2b56542dd50bab41343990bf6f5258262cea5e42241f7a90cdbfffa6fdec288",
		"765da24b3c20521787f5a6bb3e60245bfc84380e17e4e915e563e987b641507964f89d55b9846b875685d751d318f14e015237952605aa3520e1fba3771f6a2a",
		"006553f13c1f11688707e36f4e",
		"11a1b2c3d4e5f66553f10000000090611bdb404de56fc4dfdaac0e66e88a199914ad952e95a51af6ee4c3a",
		"12a1b2c3d4e5f66553f100000000a8ee977020fbf634a00f4168b75d22b3c8df7988c0c53c78794e5ab0f6",
		"8f6553f13c1f11688707e36f4e0022056d69875e57",
		"11a1b2c3d4e5f66553f100000001daa13b6757d29017b32170f68db56660f1e5343fc9d867f83c7803a6540ac9aea568f99c5f",
		"12a1b2c3d4e5f66553f1000000018e64a3a3ec843b8813d87c10c396f59be0abf30b3123c5c3aa15a9617fba4f9ce5e5fda0e9",
		"486553f13c8000000000000000e3030101",
		"11a1b2c3d4e5f66553f10000000224b7e76cff0c88f9a65fa7c70fecaf32f8641804c92afe4fa47035137286a103f4",
		"276553f13c1f11688707e36f4e0022056d69875e020001a313a01f3ce0c50801",
		"11a1b2c3d4e5f66553f1000000033d96eab0a025fc56837702c28feccdd795cd2327c928a526b866c3a1d8d54990911da31f980935ffdc319693bf65b626",
		"206553f13cf554ad406b49d1f60100050028",
		"11a1b2c3d4e5f66553f1000000040c889887f5f567c09284e22aa7afc8409e9b04ca595fdcf6d43c73e27100befcb46d",
		"19a1b2c3d4e5f66553f100000001006553f13d00000180003f24f75bf0a23358cfcb81231fb513ce",
		"7588d75604b5",
		"https://t.example.org/d#1.obLD1OX2.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8.1",
	} {
		if !bytes.Contains(raw, []byte(`"`+want+`"`)) {
			t.Errorf("not in %s: %s", vectorsFile, want)
		}
	}
}

// TestVectorsInAnotherLanguage has every vector checked by a program that shares
// nothing with this code: another language, another library of cryptography, written
// from docs/protocol.md.
func TestVectorsInAnotherLanguage(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed: the vectors are not checked by a second implementation")
	}
	out, err := exec.Command(node, filepath.Join(testdata, "check-vectors.mjs"), vectorsFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := fmt.Sprintf("%d vectors hold", len(loadVectors(t))); !strings.Contains(string(out), want) {
		t.Errorf("got %s, want %q", out, want)
	}
}

// A checker that takes everything would prove nothing.
func TestVectorCheckerNotices(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a key":          {`"okm": "5d`, `"okm": "5e`},
		"a datagram":     {`"wire": "11a1b2c3d4e5f66553f10000000090`, `"wire": "11a1b2c3d4e5f66553f10000000091`},
		"a body":         {`"lat_e7":521234567`, `"lat_e7":521234568`},
		"an ack":         {`"status":4`, `"status":3`},
		"a window":       {`"result":"too_old"`, `"result":"replay"`},
		"an epoch":       {`"result":"epoch_old"`, `"result":"ok"`},
		"a trace":        {`"result":"power_cut"`, `"result":"ok"`},
		"an accuracy":    {`"cm":480,"code":94`, `"cm":480,"code":95`},
		"a refusal":      {`"error": "malformed"`, `"error": "auth_fail"`},
		"an enrolment":   {`"host": "192.0.2.7"`, `"host": "192.0.2.8"`},
		"a bad enrolled": {"\t\"error\": \"bad_enrolment\",\n", ""},
	} {
		bad := bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(bad, raw) {
			t.Errorf("%s: nothing to change", name)
			continue
		}
		file := filepath.Join(t.TempDir(), "vectors.json")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(node, filepath.Join(testdata, "check-vectors.mjs"), file).CombinedOutput(); err == nil {
			t.Errorf("%s was changed, and the checker says\n%s", name, out)
		}
	}
}

const (
	tableStart = "<!-- vectors: made by go test ./pkg/seal -update -->\n"
	tableEnd   = "<!-- end of vectors -->\n"
)

// vectorTable is the table of docs/protocol.md.
func vectorTable(vectors []vector) string {
	var b strings.Builder
	b.WriteString("| vector | kind | bytes | result |\n|---|---|---|---|\n")
	for _, v := range vectors {
		result := "ok"
		if v.Error != "" {
			result = "`" + v.Error + "`"
		}
		show := v.Wire
		switch v.Kind {
		case "keys":
			show = v.OKM
		case "rotating_id":
			show = v.ID
		case "enrolment":
			show = strings.ReplaceAll(v.Text, "\n", `\n`)
		case "window", "epochs", "device", "accuracy":
			show = ""
		}
		if len(show) > 130 {
			show = fmt.Sprintf("%d bytes", len(show)/2)
		} else if show != "" {
			show = "`" + show + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", v.Name, v.Kind, show, result)
	}
	return b.String()
}

func splitProtocol(t testing.TB) (before, table, after string) {
	t.Helper()
	raw, err := os.ReadFile(protocolFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(raw), tableStart)
	table, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no table of vectors", protocolFile)
	}
	return before, table, after
}

func updateTable(t testing.TB) {
	t.Helper()
	before, _, after := splitProtocol(t)
	text := before + tableStart + vectorTable(loadVectors(t)) + tableEnd + after
	if err := os.WriteFile(protocolFile, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestProtocolPageAgreesWithTheVectors(t *testing.T) {
	before, table, after := splitProtocol(t)
	if table != vectorTable(loadVectors(t)) {
		t.Errorf("the table of vectors in %s is not that of %s; go test ./pkg/seal -run Vectors -update", protocolFile, vectorsFile)
	}
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever the page shows as bytes is part of a vector.
	for _, word := range regexp.MustCompile(`\b[0-9a-f]{20,}\b`).FindAllString(before+after, -1) {
		if !bytes.Contains(raw, []byte(word)) {
			t.Errorf("%s shows %s, which is in no vector", protocolFile, word)
		}
	}
}

// TestProtocolPageNamesRealTests: the threat table promises a test by name; here is
// whether it exists.
func TestProtocolPageNamesRealTests(t *testing.T) {
	raw, err := os.ReadFile(protocolFile)
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, pattern := range []string{"../*/*_test.go", "../*/*/*_test.go", "../../cmd/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllSubmatch(src, -1) {
				exists[string(m[1])] = true
			}
		}
	}
	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(string(raw), -1) {
		if !exists[name[1]] {
			t.Errorf("%s names %s, which does not exist", protocolFile, name[1])
		}
	}
}
