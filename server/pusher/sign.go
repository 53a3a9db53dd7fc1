package pusher

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// sign returns the signature of a text, in hexadecimal.
func (app *App) sign(text string) string {
	mac := hmac.New(sha256.New, []byte(app.Secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// signed reports whether signature is that of text. The time it takes does not depend on where
// they differ.
func (app *App) signed(text, signature string) bool {
	given, err := hex.DecodeString(signature)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(app.Secret))
	mac.Write([]byte(text))
	return hmac.Equal(mac.Sum(nil), given)
}

// authorizes checks what a backend has given to a client, KEY:SIGNATURE, against the parts of
// the text that is signed.
func (app *App) authorizes(auth string, parts ...string) bool {
	key, signature, ok := strings.Cut(auth, ":")
	return ok && key == app.Key && app.signed(strings.Join(parts, ":"), signature)
}
