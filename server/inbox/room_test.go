package inbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"fanfare/server/store"
)

// TestMaxPayload: what NATS does not accept is rejected with the number, and is
// announced in the log when the connection is made if MaxPayload allows it.
func TestMaxPayload(t *testing.T) {
	const mib = 1 << 20
	for _, test := range []struct {
		nats        int32 // 0: embedded
		cfg         Config
		warns       string
		fits        int
		rejected    int
		explanation string
	}{
		{mib, Config{}, "", mib - headroom, mib - headroom + 1, "at most 1044480 can be stored while max_payload of NATS is 1048576"},
		{mib, Config{MaxPayload: mib}, "level=INFO msg=\"max_payload of NATS too low\" max_payload=1048576 want=1052672 longest=1044480", mib - headroom, mib, "max_payload of NATS is 1048576"},
		{mib, Config{MaxPayload: mib + 1, Bytes: 2 * mib}, "level=WARN msg=\"max_payload of NATS too low\"", mib - headroom, mib, "max_payload of NATS is 1048576"},
		{mib + headroom, Config{MaxPayload: mib}, "", mib, mib + 1, "the limit of a user or topic, Bytes, is 1048576"},
		{mib, Config{MaxPayload: 4 * mib, Bytes: 1024}, "", 1024, 1025, "Bytes, is 1024"},
		{mib, Config{MaxPayload: mib - headroom}, "", mib - headroom, mib, "max_payload"},
		{0, Config{MaxPayload: 9 * mib, Bytes: 16 * mib}, "longest=8384512 MaxPayload=9437184", 8*mib - headroom, 8 * mib, "at most 8384512 can be stored"},
		{0, Config{MaxPayload: mib}, "", mib, mib + 1, "Bytes"},
	} {
		t.Run(fmt.Sprint(test.nats, test.cfg.MaxPayload), func(t *testing.T) {
			cfg := test.cfg
			if test.nats > 0 {
				cfg.URL = outside(t, natsserver.Options{MaxPayload: test.nats})
			}
			var log logged
			cfg.Logger = log.logger()
			s := open(t, cfg)
			if warned := strings.Contains(log.String(), "too low"); warned != (test.warns != "") || !strings.Contains(log.String(), test.warns) {
				t.Errorf("logged %s, want %q", log.String(), test.warns)
			}
			// With the longest names and ID.
			long := user(strings.Repeat("\xff", 256))
			if _, err := add(s, long, store.Entry{ID: strings.Repeat("\xff", 256), Payload: make([]byte, test.fits)}); err != nil {
				t.Errorf("%d bytes: %v", test.fits, err)
			}
			_, err := add(s, long, store.Entry{Payload: make([]byte, test.rejected)})
			if !errors.Is(err, store.ErrTooBig) || !strings.Contains(err.Error(), test.explanation) {
				t.Errorf("%d bytes: %v, want %q", test.rejected, err, test.explanation)
			}
		})
	}
}
