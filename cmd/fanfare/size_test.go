package main

import "testing"

func TestSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want size // -1: refused
	}{
		{"0", 0}, {"65536", 65536}, {"64KiB", 65536}, {"1MiB", 1 << 20}, {"2GiB", 2 << 30}, {"3 MiB", 3 << 20},
		{"", -1}, {"KiB", -1}, {"64KB", -1}, {"64k", -1}, {"-1", -1}, {"-1KiB", -1}, {"1.5MiB", -1}, {"9223372036854775807KiB", -1},
	} {
		var got size
		if err := got.UnmarshalText([]byte(test.text)); err != nil {
			got = -1
		}
		if got != test.want {
			t.Errorf("%q is %d, want %d", test.text, got, test.want)
		}
	}
}
