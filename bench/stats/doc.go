// Package stats summarizes repeated measurements. There are few samples (3 to 30 rounds) and the machine is noisy, so it
// reports medians with the full spread, and compares two servers round by round only, under the same conditions.
package stats
