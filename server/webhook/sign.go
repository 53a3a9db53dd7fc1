package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"fanfare/server/internal/callout"
)

// Secret signs requests. It does not print itself.
type Secret struct{ key []byte }

// String hides the secret from logs.
func (Secret) String() string { return "whsec_xxxxx" }

// GoString hides the secret from logs.
func (s Secret) GoString() string { return s.String() }

const secretPrefix = "whsec_"

// maxSecrets is far above the size of a file of secrets.
const maxSecrets = 64 << 10

// ReadSecrets reads a file of ParseSecrets.
func ReadSecrets(path string) ([]Secret, error) {
	text, err := callout.ReadFile(path, maxSecrets)
	if err != nil {
		return nil, err
	}
	secrets, err := ParseSecrets(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return secrets, nil
}

// ParseSecrets reads secrets in the format of Standard Webhooks, "whsec_" and base64 of 24
// to 64 bytes, one per line. Empty lines and those that begin with # are ignored. No error
// contains a secret.
func ParseSecrets(text string) (secrets []Secret, err error) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		encoded, ok := strings.CutPrefix(line, secretPrefix)
		key, err := base64.StdEncoding.DecodeString(encoded)
		switch {
		case !ok || err != nil:
			return nil, fmt.Errorf("line %d is not a secret: want whsec_ and base64, such as the output of: echo whsec_$(openssl rand -base64 32)", number)
		case len(key) < 24 || len(key) > 64:
			return nil, fmt.Errorf("line %d has a secret of %d bytes: want 24 to 64", number, len(key))
		}
		secrets = append(secrets, Secret{key})
	}
	if len(secrets) == 0 {
		return nil, errors.New("no secret: want whsec_ and base64, one per line")
	}
	return secrets, nil
}

// sign sets the header fields of Standard Webhooks.
func sign(h http.Header, secrets []Secret, id string, now time.Time, body []byte) {
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		keys[i] = s.key
	}
	callout.Sign(h, keys, id, now, body)
}
