package connecthook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sign adds the headers of Standard Webhooks: an ID, the time, and for each secret the
// HMAC-SHA256 of ID, time and body, separated by dots.
func sign(h http.Header, secrets [][]byte, body []byte, now time.Time) {
	id, at := "msg_"+rand.Text(), strconv.FormatInt(now.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(id + "." + at + "."))
		mac.Write(body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", at)
	h.Set("webhook-signature", strings.Join(signatures, " "))
}

// ParseSecret reads a secret as Standard Webhooks writes it, "whsec_" followed by base64, or
// any other text, whose bytes are the secret.
func ParseSecret(text string) ([]byte, error) {
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		return base64.StdEncoding.DecodeString(encoded)
	}
	return []byte(text), nil
}
