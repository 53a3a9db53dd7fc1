package main

import (
	"runtime"
	"testing"
)

// Allocations are sampled only if heap profiles are served.
func TestProfileMemory(t *testing.T) {
	before := runtime.MemProfileRate
	t.Cleanup(func() { runtime.MemProfileRate = before })
	if profileMemory(true); runtime.MemProfileRate != before || before == 0 {
		t.Errorf("with profiles the rate is %d, want %d", runtime.MemProfileRate, before)
	}
	if profileMemory(false); runtime.MemProfileRate != 0 {
		t.Errorf("without profiles the rate is %d, want 0", runtime.MemProfileRate)
	}
}
