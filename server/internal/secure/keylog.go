package secure

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
)

// Labels of the lines that crypto/tls gives a KeyLogWriter.
const (
	clientSecret = "CLIENT_TRAFFIC_SECRET_0"
	serverSecret = "SERVER_TRAFFIC_SECRET_0"
)

// keyLog is a KeyLogWriter that takes the traffic secrets from the lines it is given.
type keyLog struct {
	secrets map[string][]byte
	next    io.Writer // the KeyLogWriter of the configuration; may be nil
}

func (k keyLog) Write(line []byte) (int, error) {
	f := bytes.Fields(line) // label, random of the client, secret
	if len(f) == 3 && (string(f[0]) == clientSecret || string(f[0]) == serverSecret) {
		secret := make([]byte, len(f[2])/2)
		if _, err := hex.Decode(secret, f[2]); err != nil {
			return 0, fmt.Errorf("secure: key log: %w", err)
		}
		k.secrets[string(f[0])] = secret
	}
	if k.next != nil {
		return k.next.Write(line)
	}
	return len(line), nil
}

// logKeys returns a copy of cfg that reports the traffic secrets to h.
func (h *handshake) logKeys(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	log := keyLog{h.secrets, nil}
	if w := cfg.KeyLogWriter; w != nil {
		log.next = w
	}
	cfg.KeyLogWriter = log
	return cfg
}
