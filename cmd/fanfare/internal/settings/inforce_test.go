package settings

import (
	"reflect"
	"testing"
	"time"
)

// TestShown: values in logs and in the output of check have no secrets.
func TestShown(t *testing.T) {
	for _, test := range []struct {
		v    any
		want string
	}{
		{"nats://user:pass@a:4222,nats://token@b", "nats://xxxxx@a:4222,nats://xxxxx@b"},
		{"user:p/a@ss@a", "xxxxx@a"},
		{"a:4222,b", "a:4222,b"},
		{ConfigFile("/etc/fanfare.json"), "/etc/fanfare.json"},
		{90 * time.Second, "1m30s"}, {time.Minute, "1m"}, {time.Hour, "1h"}, {7 * day, "7d"}, {36 * time.Hour, "36h"}, {time.Duration(0), "0s"},
		{10 * time.Minute, "10m"}, {100 * time.Millisecond, "100ms"},
		{size(0), "0"}, {size(1000), "1000"}, {size(64 << 10), "64KiB"}, {size(3 << 40), "3TiB"},
		{flush(-1), "always"}, {flush(time.Second), "1s"}, {level(0), "info"}, {level(-4), "debug"},
		{[]string{"a", "b"}, "a,b"}, {parseServe(t, "--trusted-proxy=10.0.0.1,10.2.0.0/16").TrustedProxy, "10.0.0.1,10.2.0.0/16"},
	} {
		if got := shown(reflect.ValueOf(test.v)); got != test.want {
			t.Errorf("%#v is shown as %q, want %q", test.v, got, test.want)
		}
	}
}
