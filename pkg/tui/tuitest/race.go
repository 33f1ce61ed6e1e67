//go:build race

package tuitest

// Race tells whether the race detector is on, which makes everything ten times slower.
const Race = true
