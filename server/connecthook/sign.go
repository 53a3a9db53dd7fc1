package connecthook

import (
	"encoding/base64"
	"strings"
)

// ParseSecret reads a secret as Standard Webhooks writes it, "whsec_" followed by base64, or
// any other text, whose bytes are the secret.
func ParseSecret(text string) ([]byte, error) {
	if encoded, ok := strings.CutPrefix(text, "whsec_"); ok {
		return base64.StdEncoding.DecodeString(encoded)
	}
	return []byte(text), nil
}
