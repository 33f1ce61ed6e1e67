//go:build race

package rule

// slower is how many times fewer gates are simulated, as each takes that much longer.
// So few can't show the rates, only contradict them.
const (
	slower = 8
	enough = false
)
