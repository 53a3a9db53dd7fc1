package settings

import (
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	// APIKeyEnv names the variable that holds an additional API key, for platforms that
	// pass secrets in the environment.
	APIKeyEnv = "FANFARE_API_KEY"
	// maxKeyLength is far more than a key has, so a longer line is not one: it may be
	// the wrong file.
	maxKeyLength = 4 << 10
	maxKeyFile   = 1 << 20
	minKeyLength = 16 // as api.Config.Keys
)

// notInKey reports whether a key with r cannot be sent, RFC 6750 section 2.1.
func notInKey(r rune) bool { return r <= ' ' || r > '~' }

// APIKeys reads the keys of the API: those of a file and that of the environment. With
// several a new key can be introduced before the old one is removed. No error contains a
// key.
func APIKeys(file string) (keys []string, err error) {
	if file != "" {
		if keys, err = secretLines("api-key-file", file); err != nil {
			return nil, err
		}
	}
	if key := os.Getenv(APIKeyEnv); key != "" {
		if strings.ContainsFunc(key, notInKey) {
			return nil, fmt.Errorf("%s is not a key: want letters, digits and punctuation, without spaces", APIKeyEnv)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// secretLines reads a file that a flag names, with one key per line; # begins a comment. No
// error contains a key.
func secretLines(flag, file string) (keys []string, err error) {
	text, err := readFile(flag, file, maxKeyFile)
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case len(line) > maxKeyLength:
			return nil, fmt.Errorf("--%s: line %d of %s has %d bytes: want one key of at most %d per line", flag, number, file, len(line), maxKeyLength)
		case strings.ContainsFunc(line, notInKey):
			return nil, fmt.Errorf("--%s: line %d of %s is not a key: want letters, digits and punctuation, without spaces", flag, number, file)
		}
		keys = append(keys, line)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("--%s: %s has no key", flag, file)
	}
	return keys, nil
}

// readFile reads a file that a flag names, of at most some bytes: it may be a device.
func readFile(flag, file string, most int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("--%s: %s is longer than %d bytes", flag, file, most)
	}
	return text, nil
}
