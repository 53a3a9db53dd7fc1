//go:build !race

package conflate

const raceEnabled = false
