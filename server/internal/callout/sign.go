package callout

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fanfare/server/internal/field"
)

const minSecret = 24 // bytes; Standard Webhooks, "Signature scheme"

// checkSecrets returns what is wrong with Backend.Secrets.
func checkSecrets(secrets [][]byte) (errs []error) {
	if len(secrets) == 0 {
		errs = append(errs, field.Errorf("Secrets", "is empty: without a signature the backend cannot tell who asks"))
	}
	for _, s := range secrets {
		if len(s) < minSecret {
			errs = append(errs, field.Errorf("Secrets", "has a secret of %d bytes: want at least %d", len(s), minSecret))
		}
	}
	return errs
}

// Sign sets the header fields of Standard Webhooks: an ID, the time of the attempt, so that
// receivers can reject requests that were recorded, and for each secret the HMAC-SHA256 of
// ID, time and body, separated by dots.
func Sign(h http.Header, secrets [][]byte, id string, now time.Time, body []byte) {
	stamp := strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + stamp + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", strings.Join(signatures, " "))
}
