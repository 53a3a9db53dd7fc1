package settings

import (
	"testing"
	"time"
)

func TestSize(t *testing.T) {
	for _, test := range []struct {
		text string
		want size // -1: rejected
	}{
		{"0", 0}, {"65536", 65536}, {"64KiB", 65536}, {"1MiB", 1 << 20}, {"2GiB", 2 << 30}, {"3 MiB", 3 << 20},
		{"64K", 65536}, {"64k", 65536}, {"64KB", 65536}, {"64kb", 65536}, {"64kib", 65536}, {"64KIB", 65536}, {"64 kB", 65536},
		{"1m", 1 << 20}, {"1Mb", 1 << 20}, {"1g", 1 << 30}, {"1T", 1 << 40}, {"1TiB", 1 << 40}, {"512B", 512},
		{"", -1}, {"KiB", -1}, {"64 K B", -1}, {"64KK", -1}, {"64Ki", -1}, {"64x", -1}, {"-1", -1}, {"-1KiB", -1}, {"1.5MiB", -1}, {"K64", -1},
		{"9223372036854775807KiB", -1}, {"8388608TiB", -1}, {"9223372036854775808", -1}, {"9223372036854775807", 1<<63 - 1},
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

func TestDuration(t *testing.T) {
	const rejected = -1
	for _, test := range []struct {
		text string
		want time.Duration
	}{
		{"0s", 0}, {"0", 0}, {"30s", 30 * time.Second}, {"1h30m", 90 * time.Minute}, {"250ms", 250 * time.Millisecond},
		{"7d", 7 * day}, {"1d12h", 36 * time.Hour}, {"0.5d", 12 * time.Hour}, {"1d0.5h", day + 30*time.Minute}, {"-1d1h", -25 * time.Hour},
		{"", rejected}, {"d", rejected}, {"25", rejected}, {"7 d", rejected}, {"7days", rejected}, {"1d1d", rejected}, {"1h1d", rejected},
		{"1e3d", rejected}, {"infd", rejected}, {"NaNd", rejected}, {"0x1d", rejected}, {"1d-1h", rejected}, {"99999999d", rejected}, {"5M", rejected}, {"500MS", rejected},
		{"7D", 7 * day}, {"1D12H", 36 * time.Hour}, {"30S", 30 * time.Second},
	} {
		got, err := parseDuration(test.text)
		if err != nil {
			got = rejected
		}
		if got != test.want {
			t.Errorf("%q is %v, want %v (%v)", test.text, got, test.want, err)
		}
	}
}
