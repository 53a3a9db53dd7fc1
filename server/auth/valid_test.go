package auth

import (
	"testing"
	"time"
)

// TestValidUntil: a token opens no further session after it has expired, whether or not its
// sessions end then.
func TestValidUntil(t *testing.T) {
	exp := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	token := sign("HS256", signers["HS256"][0], func(_, claims map[string]any) { claims["exp"] = exp.Unix() })
	for _, closes := range []bool{false, true} {
		keys := keysFor(t, "HS256")
		keys.CloseExpired, keys.Leeway = closes, time.Minute
		id, err := verified(keys, token)
		if err != nil || !id.ValidUntil.Equal(exp) {
			t.Errorf("closes %v: valid until %v, %v, want %v", closes, id.ValidUntil, err, exp)
		}
		if closes != id.Expires.Equal(exp.Add(time.Minute)) {
			t.Errorf("closes %v: the session ends at %v", closes, id.Expires)
		}
	}
}
