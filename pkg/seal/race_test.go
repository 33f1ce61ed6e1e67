//go:build race

package seal

// raceEnabled: the race detector allocates on its own account.
const raceEnabled = true
