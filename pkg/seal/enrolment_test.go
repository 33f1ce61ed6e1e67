package seal

import (
	"errors"
	"strings"
	"testing"

	"tracker/pkg/track"
)

const (
	testID   = "obLD1OX2"
	testKey  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	testText = "https://t.example.org/d#1." + testID + "." + testKey + ".1"
)

func TestEnrolmentString(t *testing.T) {
	base := Enrolment{Host: "t.example.org", Device: testDevice, Root: *testRoot(), Suite: ChaCha20Poly1305}
	with := func(f func(*Enrolment)) Enrolment { e := base; f(&e); return e }
	for text, want := range map[string]Enrolment{
		testText: base,
		strings.Replace(testText, "org", "org:4810", 1): with(func(e *Enrolment) { e.Host += ":4810" }),
		testText[:len(testText)-1] + "2":                with(func(e *Enrolment) { e.Suite = AES128GCM }),
		testText + ".c":                                 with(func(e *Enrolment) { e.Flags = CounterEpochs }),
		testText + ".p":                                 with(func(e *Enrolment) { e.Flags = RotatingIDs }),
		testText + ".cpm":                               with(func(e *Enrolment) { e.Flags = CounterEpochs | RotatingIDs | TwoBearers }),
		strings.Replace(testText, "t.example.org", "[2001:db8::1]:7", 1): with(func(e *Enrolment) {
			e.Host = "[2001:db8::1]:7"
		}),
		strings.Replace(testText, "t.example.org", "127.0.0.1:9", 1): with(func(e *Enrolment) { e.Host = "127.0.0.1:9" }),
	} {
		if got := want.String(); got != text {
			t.Errorf("got %s, want %s", got, text)
		}
		if got, err := ParseEnrolment(text); err != nil || got != want {
			t.Errorf("%s: got %#v, %v", text, got, err)
		}
	}
	if len(testText) != 80 {
		t.Errorf("the example is %d characters, want 80", len(testText))
	}
}

func TestEnrolmentAddr(t *testing.T) {
	for host, want := range map[string]string{
		"t.example.org":    "t.example.org:4810",
		"t.example.org:99": "t.example.org:99",
		"127.0.0.1":        "127.0.0.1:4810",
		"[::1]":            "[::1]:4810",
		"[::1]:99":         "[::1]:99",
	} {
		if got := (Enrolment{Host: host}).Addr(); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func TestEnrolmentRefuses(t *testing.T) {
	replace := func(old, with string) string { return strings.Replace(testText, old, with, 1) }
	for name, text := range map[string]string{
		"empty":                     "",
		"http":                      replace("https", "http"),
		"upper-case scheme":         replace("https", "HTTPS"),
		"no host":                   replace("t.example.org", ""),
		"a path":                    replace("/d#", "/x/d#"),
		"a user":                    replace("t.ex", "u@t.ex"),
		"a space":                   " " + testText,
		"a line break at the end":   testText + "\n",
		"version 2":                 replace("#1.", "#2."),
		"no fragment":               replace("#", "?"),
		"id too short":              replace(testID, testID[1:]),
		"id too long":               replace(testID, testID+"A"),
		"id zero":                   replace(testID, "AAAAAAAA"),
		"root too short":            replace(testKey, testKey[1:]),
		"root zero":                 replace(testKey, strings.Repeat("A", 43)),
		"root padded":               replace(testKey, testKey+"="),
		"root in standard base64":   replace("BgcI", "Bg+I"),
		"root with spare bits":      replace("Hh8.", "Hh9."),
		"root with a line break":    replace("BgcI", "Bg\nI"),
		"no suite":                  strings.TrimSuffix(testText, ".1"),
		"suite 0":                   replace("8.1", "8.0"),
		"suite 3":                   replace("8.1", "8.3"),
		"suite 01":                  replace("8.1", "8.01"),
		"empty flags":               testText + ".",
		"unknown flag":              testText + ".x",
		"flag twice":                testText + ".cc",
		"flags in another order":    testText + ".pc",
		"one part too many":         testText + ".c.c",
		"port 0":                    replace(".org", ".org:0"),
		"port 65536":                replace(".org", ".org:65536"),
		"port 0080":                 replace(".org", ".org:0080"),
		"port missing":              replace(".org", ".org:"),
		"bare IPv6":                 replace("t.example.org", "2001:db8::1"),
		"IPv6 with a zone":          replace("t.example.org", "[fe80::1%eth0]"),
		"IPv4 in brackets":          replace("t.example.org", "[127.0.0.1]"),
		"empty label":               replace("t.example.org", "t..org"),
		"label ends with a hyphen":  replace("t.example.org", "t-.org"),
		"a label of 64":             replace("t.example.org", strings.Repeat("a", 64)+".org"),
		"a host of 254":             replace("t.example.org", strings.Repeat("abcdefg.", 31)+"abcdef"),
		"not ASCII":                 replace("t.example.org", "tä.org"),
		"longer than any of them":   testText + strings.Repeat("c", 400),
		"the mark is in the middle": replace("t.example.org", "a/d#1.b"),
	} {
		e, err := ParseEnrolment(text)
		if !errors.Is(err, track.ErrInvalid) || e != (Enrolment{}) {
			t.Errorf("%s: got %v, %v", name, e, err)
			continue
		}
		if strings.Contains(err.Error(), testKey[:10]) {
			t.Errorf("%s: the secret is in the error %q", name, err)
		}
	}
}

func TestFlagsRefuse(t *testing.T) {
	for _, s := range []string{"x", "cc", "pc", "mp", "C", "c p", "cpmr"} {
		if f, err := ParseFlags(s); !errors.Is(err, track.ErrInvalid) {
			t.Errorf("%q: got %v, %v", s, f, err)
		}
	}
	for f := range EnrolFlags(8) {
		if got, err := ParseFlags(f.String()); err != nil || got != f {
			t.Errorf("%q: got %v, %v", f.String(), got, err)
		}
	}
}
