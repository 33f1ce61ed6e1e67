package rule

import (
	"flag"
	"testing"
)

var ruleFlag = flag.String("rule", "ours", "whose rates to hold against what ours promises: ours, threshold, mannwhitney")

// gates is how many are simulated for a rate. That 0.2 % are not exceeded can be shown with
// 2,302 at best, if none of them fails.
const gates = 8_000 / slower

func ours(most int) procedure { return launchedPairs{Looks(DefaultFirst, most)} }

// chosen is our rule with that many launches at most, or the one that the flag names.
func chosen(t *testing.T, most int) procedure {
	t.Helper()
	switch *ruleFlag {
	case "ours":
		return ours(most)
	case "threshold":
		return threshold{}
	case "mannwhitney":
		return mannWhitney{}
	}
	t.Fatalf("no rule %q", *ruleFlag)
	return nil
}

// machines are the kinds of noise under which the rates are promised.
var machines = []struct {
	name    string
	machine machine
	most    int     // launches, with which
	power   float64 // ten per cent are found at least so often
}{
	{"moderate", machine{slice: 0.10, launch: 0.02}, 12, 0.97},
	{"heavy", machine{slice: 0.17, launch: 0.04}, 24, 0.80},
	{"moderate, drifting", machine{slice: 0.10, launch: 0.02, drift: 0.08}, 12, 0.97},
	{"heavy, drifting", machine{slice: 0.17, launch: 0.04, drift: 0.08}, 24, 0.80},
}

const (
	alarmsFirst     = 0.02  // of gates of the same binary twice, in the first batch
	alarmsConfirmed = 0.002 // that fail the build
)

func TestTheSameTwiceHardlyEverFails(t *testing.T) {
	for _, x := range machines {
		t.Run(x.name, func(t *testing.T) {
			got := simulate(chosen(t, DefaultMost), x.machine, gates, 1)
			t.Log(got)
			wantAtMost(t, "alarms", got.alarms, gates, alarmsFirst)
			wantAtMost(t, "alarms that were confirmed", got.confirmed, gates, alarmsConfirmed)
			wantAtMost(t, "improvements of nothing", got.better, gates, alarmsFirst)
		})
	}
}

func TestTenPerCentAreFound(t *testing.T) {
	for _, x := range machines {
		t.Run(x.name, func(t *testing.T) {
			const gates = gates / 4
			slow := x.machine
			slow.effect = 0.10
			got := simulate(chosen(t, x.most), slow, gates, 2)
			t.Log(got)
			wantAtLeast(t, "found", got.alarms, gates, x.power)
			wantAtMost(t, "passed", got.passed, gates, 0.03)
			got = simulate(chosen(t, DefaultMost), slow, gates, 3)
			wantAtLeast(t, "found, and found again", got.confirmed, gates, x.power*x.power)
		})
	}
}

// One side of one launch costs 40 % more, all the while: whenever that is, it does not
// fail a build.
func TestABurstInOneLaunchDoesNotFailTheBuild(t *testing.T) {
	for _, x := range machines {
		t.Run(x.name, func(t *testing.T) {
			hit := x.machine
			hit.hit = anyLaunch
			got := simulate(chosen(t, DefaultMost), hit, gates, 4)
			t.Log(got)
			wantAtMost(t, "alarms", got.alarms, gates, alarmsFirst)
			wantAtMost(t, "alarms that were confirmed", got.confirmed, gates, alarmsConfirmed)
		})
	}
}

// The rates above would be worth little if any rule held them.
func TestOtherRulesWouldNotHold(t *testing.T) {
	for name, p := range map[string]procedure{"threshold": threshold{}, "mann-whitney": mannWhitney{}} {
		for _, x := range machines {
			t.Run(name+", "+x.name, func(t *testing.T) {
				const gates = gates / 4
				got := simulate(p, x.machine, gates, 5)
				t.Log(got)
				wantAtLeast(t, "alarms of a rule that is not fit", got.alarms, gates, alarmsFirst)
				if x.machine.drift > 0 {
					wantAtLeast(t, "confirmed alarms of a rule that is not fit", got.confirmed, gates, 10*alarmsConfirmed)
				}
			})
		}
	}
}

// Half of the first launches are enough where the machine is quiet or the change is
// large, and elsewhere nothing is lost by having looked.
func TestTheEarlyLookDecidesWhatIsPlain(t *testing.T) {
	for _, x := range []struct {
		slice, launch, effect float64
		at6                   float64 // decided there, at least
		launches              float64 // on average, at most
	}{
		{0.05, 0.005, 0, 0.8, 7.5},
		{0.05, 0.005, 0.10, 0.9, 7},
		{0.05, 0.005, -0.10, 0.9, 7},
		{0.10, 0.02, 0, 0.2, 11.5},
		{0.10, 0.02, 0.05, 0, 13},
		{0.10, 0.02, 0.10, 0.3, 11},
		{0.10, 0.02, 0.25, 0.95, 6.5},
		{0.17, 0.04, 0, 0, 14},
		{0.17, 0.04, 0.05, 0, 19},
		{0.17, 0.04, 0.10, 0.05, 14},
		{0.17, 0.04, 0.25, 0.6, 9},
	} {
		const gates = gates / 5
		got := simulate(ours(DefaultMost), machine{slice: x.slice, launch: x.launch, effect: x.effect}, gates, 6)
		t.Logf("slices %.2f, launches %.3f, planted %+3.0f %%: %v", x.slice, x.launch, 100*x.effect, got)
		wantAtLeast(t, "decided at 6", got.decided[6], gates, x.at6)
		if mean := float64(got.launches) / gates; mean > x.launches {
			t.Errorf("%.1f launches on average, want at most %.1f", mean, x.launches)
		}
		switch x.effect {
		case 0:
			wantAtMost(t, "alarms at 6", got.worse[6], gates, 0.01)
		case 0.10:
			wantAtMost(t, "passed at 6", got.cleared[6], gates, 0.01)
		}
	}
}
