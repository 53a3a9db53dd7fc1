// Package stats sums up repeated measurements. Its samples are few (3 to 30 rounds) and the machine under
// them is noisy, so it gives medians with the whole spread, and compares two servers only round by round,
// where both had the same weather.
package stats
