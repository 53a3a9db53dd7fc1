package webhook

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestSignVector signs the example of the Standard Webhooks libraries.
func TestSignVector(t *testing.T) {
	h := make(http.Header)
	sign(h, secretsOf(t, secretText), "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if got, want := h.Get("Webhook-Signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestSignRotation: the library of the specification accepts what is posted with either of
// two secrets, and nothing with another one.
func TestSignRotation(t *testing.T) {
	r := new(receiver)
	s := start(t, r, Config{Secrets: secretsOf(t, "# new", newSecretText, "", secretText)})
	s.Observe(opened("alice"))
	until(t, "request", func() bool { return len(r.all()) == 1 })
	got := r.all()[0]
	for secret, ok := range map[string]bool{secretText: true, newSecretText: true, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA": false} {
		wh, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		if err := wh.Verify(got.body, got.header); (err == nil) != ok {
			t.Errorf("%s: %v", secret, err)
		}
		if err := wh.Verify(append(got.body, ' '), got.header); err == nil {
			t.Error("a changed body is accepted")
		}
	}
}

func TestParseSecrets(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{secretText, ""},
		{"# a\n\n  " + secretText + "\r\n" + newSecretText, ""},
		{"", "no secret"},
		{"whsec_", "line 1 has a secret of 0 bytes: want 24 to 64"},
		{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "line 1 is not a secret"},
		{secretText + "\nwhsec_###", "line 2 is not a secret"},
		{"whsec_" + strings.Repeat("A", 92), "line 1 has a secret of 69 bytes"},
	} {
		_, err := ParseSecrets(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.want)
		}
	}
	if s := fmt.Sprintf("%v %+v %#v %s", secretsOf(t, secretText), secretsOf(t, secretText), secretsOf(t, secretText), secretsOf(t, secretText)); strings.Contains(s, "MfKQ") || strings.Contains(s, "49") {
		t.Error("a secret prints itself: ", s)
	}
}
