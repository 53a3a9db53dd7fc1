package pusher

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// mac returns the HMAC of a text.
func (app *App) mac(text string) []byte {
	mac := hmac.New(sha256.New, []byte(app.Secret))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// sign returns the signature of a text, in hexadecimal.
func (app *App) sign(text string) string { return hex.EncodeToString(app.mac(text)) }

// signed reports whether signature is that of text. The time it takes does not depend on where
// they differ.
func (app *App) signed(text, signature string) bool {
	given, err := hex.DecodeString(signature)
	return err == nil && hmac.Equal(app.mac(text), given)
}

// authorizes checks what a backend has given to a client, KEY:SIGNATURE, against the parts of
// the text that is signed.
func (app *App) authorizes(auth string, parts ...string) bool {
	key, signature, ok := strings.Cut(auth, ":")
	return ok && key == app.Key && app.signed(strings.Join(parts, ":"), signature)
}
