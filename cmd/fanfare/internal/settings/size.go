package settings

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// size is a number of bytes, written 65536, 64K, 64KB, 64KiB or 64kib: 1,024 bytes are
// a K, as in the configuration of nginx and NATS.
type size int64

func (s *size) UnmarshalText(text []byte) error {
	number := strings.TrimRight(strings.ToLower(string(text)), "kmgtib ")
	unit := strings.TrimSpace(strings.ToLower(string(text))[len(number):])
	shift, ok := map[string]int{
		"": 0, "b": 0,
		"k": 10, "kb": 10, "kib": 10, "m": 20, "mb": 20, "mib": 20,
		"g": 30, "gb": 30, "gib": 30, "t": 40, "tb": 40, "tib": 40,
	}[unit]
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 || n > math.MaxInt64>>shift {
		return fmt.Errorf("want a size like 65536, 64KiB or 1MiB, not %q", text)
	}
	*s = size(n << shift)
	return nil
}

// String writes a size in the largest unit that divides it.
func (s size) String() string {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if s != 0 && s%(1<<unit.shift) == 0 {
			return fmt.Sprintf("%d%s", s>>unit.shift, unit.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// int is the size for a setting of that type; on 32-bit systems a larger one is the
// largest, which the setting's own limit rejects.
func (s size) int() int { return int(min(int64(s), math.MaxInt)) }

const day = 24 * time.Hour

// formatDuration is the reverse of parseDuration: "7d", not "168h0m0s".
func formatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// parseDuration reads what time.ParseDuration reads, and days: "7d", "1d12h", "0.5d".
// Units may be in any case, as those of a size; M is rejected because systemd and others
// read it as months.
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("want a duration like 30s, 5m or 7d, not %q", text)
	if strings.Contains(text, "M") {
		return 0, fmt.Errorf("%w: write m for minutes, and months as days", bad)
	}
	text = strings.ToLower(text)
	number, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, bad
		}
		return d, nil
	}
	days, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.ContainsAny(number, "eExXpPnN_") || math.Abs(days) > float64(math.MaxInt64/day/2) {
		return 0, bad
	}
	d := time.Duration(days * float64(day))
	if rest == "" {
		return d, nil
	}
	hours, err := time.ParseDuration(rest)
	if err != nil || rest[0] == '-' || rest[0] == '+' {
		return 0, bad
	}
	if d < 0 || strings.HasPrefix(number, "-") {
		hours = -hours
	}
	return d + hours, nil
}
