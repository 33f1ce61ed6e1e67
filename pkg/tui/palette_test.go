package tui

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"tracker/pkg/client"
	"tracker/pkg/track"
)

// tabbed are the lines that tab may make of a line of the palette.
func (r *rig) tabbed(text string) (all []string) {
	stem := strings.LastIndexByte(text, ' ') + 1
	for _, o := range r.offered(text[:stem], text[stem:]) {
		all = append(all, text[:stem]+o)
	}
	return all
}

func TestTabOffersWhatMayFollow(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(
		fixOf(1, "van-1", epoch, 48, 11), fixOf(2, "van-2", epoch, 48, 12), fixOf(3, "Old van", epoch, 48, 13), fixOf(4, "bob's", epoch, 48, 14),
	).with(nil)
	r.named = map[string]string{"depot": "near:48,11,5km"}
	for text, want := range map[string][]string{
		"hist":                           {"history"},
		"zo":                             {"zoom-in", "zoom-out", "zoom-selected"},
		"device ":                        {"device list", "device show"},
		"device l":                       {"device list"},
		"device list ":                   {"device list --filter", "device list --json"},
		"device list --filter @":         {"device list --filter @depot"},
		"device list --filter 'van !@d":  {"device list --filter 'van !@depot"},
		"device list --j":                {"device list --json"},
		"device list --filter st":        {"device list --filter state:", "device list --filter status:"},
		"device list --filter=state:m":   {"device list --filter=state:moving"},
		"device list --filter 'van sta":  {"device list --filter 'van state:", "device list --filter 'van status:"},
		"device list --filter '!state:m": {"device list --filter '!state:moving"},
		"device show V":                  {"device show van-1", "device show van-2"},
		"device show ol":                 {"device show 'Old van'"},
		"device show 'ol":                {"device show 'Old van'"},
		"device show \"old v":            {"device show \"old van\""},
		"device show bob":                {`device show 'bob'\''s'`},
		"device show van-1 ":             nil,
		"device enroll ":                 nil,
		"history --from -2h van-1":       {"history --from -2h van-1"},
		"maps harbour van-1 van-2 old":   {"maps harbour van-1 van-2 'Old van'"},
		"help dev":                       {"help device"},
		"help device s":                  {"help device show"},
		"nothing such":                   nil,
		"map ":                           nil,
		"filter @":                       {"filter @depot"},
		"filter van !@d":                 {"filter van !@depot"},
		"filter (bus|@d":                 {"filter (bus|@depot"},
		"save d":                         {"save depot"},
		"follow old":                     {"follow Old van"},
		"follow old v":                   {"follow old van"},
		"theme d":                        {"theme dark"},
		"export x":                       nil,
	} {
		if got := r.tabbed(text); !slices.Equal(got, want) {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	// What is the only one is followed by a blank, and tab goes on from there.
	r.press(":").types("dev").prompts("tab").types("sh").prompts("tab").types("van-1").prompts("tab", "shift+tab")
	if got := r.prompt.string(); got != "device show van-1 " {
		t.Errorf("%q", got)
	}
	first := r.tabbed("")
	for _, name := range []string{"filter", "zoom-in", "device", "history", "help"} {
		if !slices.Contains(first, name) {
			t.Errorf("%s is not offered", name)
		}
	}
	if slices.Contains(first, "map") || !slices.IsSorted(first) {
		t.Errorf("offered are %q", first)
	}
}

func TestThePromptTellsOfWhatIsTyped(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...).with(nil)
	for text, want := range map[string]string{
		"":                      "tab shows what there is",
		"fol":                   "follow DEVICE: select a device and stay with it",
		"fi":                    "filter fit",
		"theme da":              "NAME: other colours",
		"ack":                   "a: an event was seen, or all of them",
		"devi":                  "device list|show: Look after devices",
		"device ":               "list show",
		"device sh":             "show DEVICE: Show a device",
		"device enroll":         "it shows a key",
		"device list ":          "--filter --json",
		"device list --filter ": "filter: only these",
		"device list --json":    "print JSON",
		"history ":              "DEVICE --from",
		"history van-1":         "history DEVICE: Where a device was",
		"map":                   "this is the map",
		"frobnicate":            "",
	} {
		r.press(":").types(text)
		if got := r.prompt.tip; got != want && !(text == "map" && strings.HasPrefix(got, "map")) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if want != "" && text != "map" {
			r.shows(want)
		}
		r.prompts("esc")
	}
}

func TestWhatThePaletteRefusesItRefusesInASentence(t *testing.T) {
	r := newRig(t, 80, 24, "plain").load(vans(3)...).with(nil)
	for text, want := range map[string]string{
		"folow":                `there is no "folow"; did you mean follow?`,
		"q":                    `there is no "q"; did you mean quit?`,
		"frobnicate":           `there is no "frobnicate"; tab shows what there is`,
		"histroy van-1":        `there is no "histroy"; did you mean history?`,
		"map --once":           "map: this is the map",
		"device enroll van-1":  "enroll: it shows a key",
		"device lst":           `device has no "lst"; did you mean list?`,
		"device 'list":         "there is no second '",
		"zoom-in twice":        "zoom-in stands alone",
		"filter status:active": "status and alarm are not on the map; device list --filter knows them",
		"save depot":           "there is no filter to save; / makes one",
	} {
		r.press(":").types(text).prompts("enter").shows(want)
		if !r.prompt.isOpen() || r.sheet.isOpen() {
			t.Errorf("%q was taken", text)
		}
		r.prompts("esc")
	}
	r.jobs = nil
	r.press(":").types("device list").prompts("enter").shows(`there is no "device"`).prompts("esc")
}

func TestAWordOfTwoMeaningsGoesByItsArguments(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...).with(nil).press("n")
	r.press(":").types("follow").prompts("enter") // the action
	if !r.follow || r.prompt.isOpen() {
		t.Error("nobody is followed")
	}
	r.press(":").types("follow van-0002").prompts("enter").shows("van-0002 · following")
	r.press(":").types("goto").prompts("enter").shows("go to ▏")
	r.prompts("esc").press(":").prompts("up").shows(":goto")
}

func TestFiltersHaveNames(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(40)...)
	r.named = map[string]string{"seven": "van-0007 | van-0017", "slow": "speed<1"}
	given := maps.Clone(r.named)
	r.press("/").types("@seven").shows("Devices 2 of 40", "2 of 40 dev /@seven")
	r.types(" !17").shows("Devices 1 of 40").prompts("enter")
	r.press("/").shows("/@seven !17").prompts("ctrl+u").types("@sev").shows("no filter is named @sev; did you mean @seven?", "Devices 40 by")
	r.prompts("tab").shows("/@seven").prompts("enter")
	r.press(":").types("filter @nobody").prompts("enter").shows("no filter is named @nobody; there are @seven, @slow").prompts("esc")
	r.press(":").types("filter @seven 7").prompts("enter").shows("Devices 2 of 40", "2 of 40 dev /@seven 7")

	r.press(":").types("save both").prompts("enter").shows("@both is this filter", "[filters]", `both = "(van-0007 | van-0017) 7"`)
	r.prompts("esc").press(":").types("filter !@both").prompts("enter").shows("Devices 38 of 40")
	r.press(":").types("save both").prompts("enter").shows("@both is now this filter", `both = "!((van-0007 | van-0017) 7)"`)
	for _, wrong := range []string{"save", "save a b", "save ü", "save " + strings.Repeat("x", 33)} {
		r.press(":").types(wrong).prompts("enter").shows("want up to 32 letters, digits, - and _").prompts("esc")
	}
	if !maps.Equal(given, map[string]string{"seven": "van-0007 | van-0017", "slow": "speed<1"}) {
		t.Errorf("the settings became %v", given)
	}
	r.press("p").hides("both")
}

func TestTheFilterOfTheStartIsShownAsItWasTyped(t *testing.T) {
	clock := newRig(t, 10, 10, "plain").clock
	o := Options{Now: clock.Now, Typed: "@seven"}
	s, err := newScreen(&o, o.store(), face{theme: theme("plain")})
	if err != nil || s.wanted != "@seven" {
		t.Errorf("%q, %v", s.wanted, err)
	}
}

func TestNamesWithBlanksAreFollowedFromTheirBeginning(t *testing.T) {
	var fixes []client.Fix
	for i, name := range []string{"Ölwagen 7", "ölwagen 8", "Bus"} {
		fixes = append(fixes, fixOf(track.DeviceID(i+1), name, epoch, 48, float64(i)))
	}
	r := newRig(t, 120, 40, "plain").load(fixes...)
	r.press(":").types("follow ÖLWAGEN").prompts("enter").shows("2 devices begin with").prompts("esc")
	r.press(":").types("follow ÖLWAGEN 8").prompts("enter").shows("ölwagen 8 · following")
}

func TestCommandsKnowTheNamesOfFilters(t *testing.T) {
	r := newRig(t, 120, 40, "plain").load(vans(3)...).with(nil)
	r.named = map[string]string{"seven": "van-0007 | van-0017"}
	r.told("device list --filter '@seven speed>50'").shows(`"--filter" "(van-0007 | van-0017) speed>50"]`)
	r.told("device list --filter=!@seven --json").shows(`"--filter=!(van-0007 | van-0017)" "--json"]`)
	r.told("device list --filter 'a@b'").shows(`"--filter" "a@b"]`)
	r.told("device list --filter status:active").shows(`"--filter" "status:active"]`)
	r.prompts("esc").press(":").types("device list --filter @sevn").prompts("enter").shows("did you mean @seven?").hides("was told")
}

// Whatever is typed, telling of it and completing it ends well, and what a completion makes
// of a command is one word more, or the same one longer.
func FuzzWhatIsTyped(f *testing.F) {
	for _, text := range []string{"device list --filter 'van st", "follow old v", `history "a b\ `, "--filter=", "filter (@d|!@", "help device s", "maps a 'Old ", "device show \\'O"} {
		f.Add(text)
	}
	o := Options{Now: func() time.Time { return epoch }}
	s, err := newScreen(&o, o.store(), face{theme: theme("plain")})
	if err != nil {
		f.Fatal(err)
	}
	s.jobs = &jobs{cli: commands(nil).cli(), now: o.Now}
	s.named = map[string]string{"depot": "van"}
	s.store.Snapshot([]client.Fix{fixOf(1, "Old 'van'", epoch, 48, 11), fixOf(2, "İstanbul", epoch, 48, 11)}, true, false)
	s.Resize(80, 24)
	s.Draw(epoch)
	f.Fuzz(func(t *testing.T, text string) {
		for _, what := range []purpose{forCommand, forFilter, forPlace} {
			s.prompt.open(what, "")
			s.prompt.insert(text)
			s.tip(s.prompt.string())
			before := len(splitLine(s.prompt.string()).words)
			s.prompt.complete(1, s.offers())
			if got := len(splitLine(s.prompt.string()).words); what == forCommand && (got < before || got > before+1) && s.cli().verb(firstWord(text)) != nil {
				t.Errorf("%q became %q", text, s.prompt.string())
			}
			s.prompt.draw(&s.c, 23, 80)
		}
	})
}

func firstWord(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return first
}
