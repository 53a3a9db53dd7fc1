package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"fanfare/server/auth"
)

// keySet is a value of --jwks: a URL or a file, followed by settings.
type keySet struct {
	text      string
	source    string
	issuer    string
	audiences []string
	ca        string
	insecure  bool
}

// keySetSettings begin what follows the URL or the file, which may contain commas.
var keySetSettings = []string{",issuer=", ",audience=", ",ca=", ",insecure-http"}

func (k *keySet) UnmarshalText(text []byte) error {
	*k = keySet{text: string(text)}
	rest := k.text
	next := func() (part string) {
		end := len(rest)
		for _, s := range keySetSettings {
			if i := strings.Index(rest[min(1, len(rest)):], s); i >= 0 {
				end = min(end, i+1)
			}
		}
		part, rest = rest[:end], rest[end:]
		return part
	}
	if k.source = next(); k.source == "" || k.source[0] == ',' {
		return errors.New("want a URL or a file first: https://id.example.com/keys,issuer=https://id.example.com,audience=fanfare")
	}
	for rest != "" {
		name, value, _ := strings.Cut(next()[1:], "=")
		switch {
		case name == "insecure-http" && value == "" && !k.insecure:
			k.insecure = true
		case value == "":
			return fmt.Errorf("%q: want issuer=ISS, audience=AUD, ca=FILE or insecure-http", name+"="+value)
		case name == "issuer" && k.issuer == "":
			k.issuer = value
		case name == "audience":
			k.audiences = append(k.audiences, value)
		case name == "ca" && k.ca == "":
			k.ca = value
		default:
			return fmt.Errorf("%s is there more than once", name)
		}
	}
	return nil
}

func (k keySet) String() string { return k.text }

// anyAudience says that tokens for every audience are accepted.
const anyAudience = "*"

// open returns the key set. Settings that are left out are those of the other flags.
func (k *keySet) open(a *authFlags, log *slog.Logger) (*auth.KeySet, error) {
	cfg := auth.KeySetConfig{Source: k.source, Issuer: k.issuer, Audiences: k.audiences, CA: k.ca, InsecureHTTP: k.insecure, Logger: log}
	if cfg.Issuer == "" {
		cfg.Issuer = a.JWTIssuer
	}
	if len(cfg.Audiences) == 0 && a.JWTAudience != "" {
		cfg.Audiences = []string{a.JWTAudience}
	}
	switch {
	case cfg.Issuer == "":
		return nil, fmt.Errorf("%s has no issuer: add ,issuer=ISS, the iss of its tokens, or give --jwt-issuer", k.source)
	case len(cfg.Audiences) == 0:
		return nil, fmt.Errorf("%s has no audience: add ,audience=AUD, which its tokens must have in aud, or ,audience=* to accept tokens for other services, too", k.source)
	case len(cfg.Audiences) == 1 && cfg.Audiences[0] == anyAudience:
		cfg.Audiences = nil
	}
	set, err := auth.NewKeySet(cfg)
	if err != nil && strings.HasSuffix(err.Error(), "InsecureHTTP") {
		return nil, errors.New(strings.TrimSuffix(err.Error(), "InsecureHTTP") + ",insecure-http")
	}
	return set, err
}
